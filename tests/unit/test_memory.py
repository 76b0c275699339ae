"""Kills for want of memory are counted where a machine's control groups count them."""

from __future__ import annotations

from pathlib import Path

import pytest

from asrtune_trainer.memory import OomKills

V1 = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
V2 = "low 0\nhigh 0\nmax 12\noom 1\noom_kill {}\noom_group_kill 0\n"


@pytest.mark.parametrize(
    ("groups", "file", "text"),
    [
        ("0::/\n", "memory.events", V2),
        ("0::/user.slice/user-0.slice\n", "user.slice/user-0.slice/memory.events", V2),
        ("9:cpu,cpuacct:/a\n4:memory:/kubepods/x\n0::/\n", "memory/kubepods/x/memory.oom_control", V1),
        ("4:memory:/path/of/the/host\n0::/\n", "memory/memory.oom_control", V1),
    ],
    ids=["v2 in a container", "v2 on a machine", "v1 on a machine", "v1 in a container"],
)
def test_kills_are_counted(tmp_path: Path, groups: str, file: str, text: str) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(groups)
    counter = tmp_path / "sys/fs/cgroup" / file
    counter.parent.mkdir(parents=True)
    counter.write_text(text.format(3))
    kills = OomKills(tmp_path)
    assert kills.happened is False
    counter.write_text(text.format(4))
    assert kills.happened is True


def test_nobody_counts(tmp_path: Path) -> None:
    assert OomKills(tmp_path).happened is None


def test_of_this_machine() -> None:
    assert OomKills().happened in {False, None}
