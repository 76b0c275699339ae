"""The telephone demo is honest: its train, validation and test parts share no recording and no text."""

import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import soundfile as sf

DEMO = Path(__file__).parents[2] / "examples" / "telephone-demo"
DATA = DEMO / "data"
SETS = ("train", "validation", "test_wideband", "test_telephone")
DATA_SUFFIXES = {".ogg", ".wav", ".flac", ".mp3", ".pt", ".onnx", ".safetensors", ".mvn"}
RATE = {"train": 16000, "validation": 16000, "test_wideband": 16000, "test_telephone": 8000}


def rows(name: str, data: Path = DATA) -> list[dict]:
    return [json.loads(line) for line in (data / f"{name}.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def build_data() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_data", DEMO / "build_data.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_shipped_parts_share_nothing(build_data):
    assert build_data.leaks(DATA) == []


def test_both_test_sets_are_the_same_prompts_in_two_domains():
    wide, phone = rows("test_wideband"), rows("test_telephone")
    assert [r["target"] for r in wide] == [r["target"] for r in phone]
    assert [Path(r["source"]).stem for r in wide] == [Path(r["source"]).stem for r in phone]


def as_text(row: dict, victim: dict, _: Path) -> None:
    row["target"] = victim["target"]


def as_recording(row: dict, victim: dict, data: Path) -> None:
    row["source"] = f"audio/train/{Path(victim['source']).name}"
    shutil.copy(data / victim["source"], data / row["source"])


def as_renamed_copy(row: dict, victim: dict, data: Path) -> None:
    shutil.copy(data / victim["source"], data / row["source"])


@pytest.mark.parametrize("leak", [as_text, as_recording, as_renamed_copy])
@pytest.mark.parametrize("part", ["validation", "test_wideband", "test_telephone"])
def test_a_leak_is_found(
    build_data: ModuleType, tmp_path: Path, part: str, leak: Callable[[dict, dict, Path], None]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(DATA, data)
    train = rows("train", data)
    leak(train[0], rows(part, data)[0], data)
    (data / "train.jsonl").write_text("".join(json.dumps(r) + "\n" for r in train), encoding="utf-8")
    assert build_data.leaks(data)


@pytest.mark.parametrize("name", SETS)
def test_every_line_is_sound(name):
    lines = rows(name)
    assert len({r["key"] for r in lines}) == len(lines)
    listed = {r["source"] for r in lines}
    assert listed == {p.relative_to(DATA).as_posix() for p in (DATA / "audio" / name).iterdir()}
    for row in lines:
        info = sf.info(DATA / row["source"])
        assert (info.samplerate, info.channels) == (RATE[name], 1)
        assert abs(info.duration * 100 - row["source_len"]) <= 1
        assert row["target_len"] == len(row["target"]) > 0
        assert set(row["target"]) <= set("abcdefghijklmnopqrstuvwxyz' ")
        assert row["target"] == " ".join(row["target"].split())


def test_the_example_stays_small():
    assert sum(p.stat().st_size for p in DEMO.rglob("*") if p.is_file()) < 9e6


def test_notice_names_all_data_that_is_shipped() -> None:
    """Recordings, weights and statistics: whatever is no text of ours has its licence there."""
    root = DEMO.parents[1]
    notice = (root / "NOTICE").read_text()
    named = re.findall(r"examples/[\w/.-]+[\w]", notice)
    assert [one for one in named if not (root / one).exists()] == []
    tracked = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    )
    data = [name for name in tracked.stdout.split("\0") if Path(name).suffix in DATA_SUFFIXES]
    assert len(data) > 500
    assert [
        name for name in data if not any(name.startswith(f"{one}/") or name == one for one in named)
    ] == []
