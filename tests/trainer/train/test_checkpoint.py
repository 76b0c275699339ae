"""Checkpoints are complete or not there, and what is not resumable is small."""

import random

import numpy as np
import pytest
import torch

from asrtune_trainer.stages.mirror import Mirror
from asrtune_trainer.storage import Stores
from asrtune_trainer.train.checkpoint import (
    Checkpoints,
    TrainingState,
    random_state,
    restore_random_state,
    verify,
)
from asrtune_trainer.train.progress import Progress


class Recorded(Mirror):
    """A mirror of a local directory, which has nothing to do, and says what it was asked for."""

    def __init__(self, directory):
        super().__init__(Stores(), directory, str(directory))
        self.published, self.rewritten, self.forgotten = [], [], []

    def publish(self, path):
        self.published.append((path.name, sorted(file.name for file in path.iterdir())))

    def write(self, path):
        self.rewritten.append(f"{path.parent.name}/{path.name}")

    def forget(self, path):
        self.forgotten.append(path.name)


@pytest.fixture
def mirror(tmp_path):
    return Recorded(tmp_path)


@pytest.fixture
def checkpoints(tmp_path, mirror):
    made = Checkpoints(
        tmp_path / "checkpoints",
        keep_last=2,
        mirror=mirror,
        published=lambda: None,
    )
    yield made
    made.close()


def state(step: int) -> TrainingState:
    return TrainingState(
        weights={"w": torch.full((3,), float(step))},
        optimizer={"optimizer": {"state": {0: {"step": torch.tensor(float(step))}}}, "scaler": {}},
        ranks=[random_state()],
        progress=Progress(step=step, epoch=1),
    )


def save(checkpoints, step, keep=frozenset()):
    checkpoints.save(state(step), set(keep), lambda _: None)
    checkpoints.wait()


def steps(tmp_path):
    return sorted(int(path.name[5:]) for path in (tmp_path / "checkpoints").iterdir())


def test_the_newest_is_found(checkpoints, mirror):
    for step in (10, 20, 30):
        save(checkpoints, step)
    found = checkpoints.load(checkpoints.latest())
    assert found.progress.step == 30
    assert found.weights["w"].tolist() == [30.0] * 3
    assert [name for name, _ in mirror.published] == ["step-10", "step-20", "step-30"]


def test_only_the_last_and_the_best_stay(checkpoints, tmp_path, mirror):
    for step in (10, 20, 30, 40, 50):
        save(checkpoints, step, keep={20})
    assert steps(tmp_path) == [20, 40, 50]
    assert sorted(file.name for file in checkpoints.path(20).iterdir()) == ["manifest.json", "model.pt"]
    assert verify(checkpoints.path(20)) is not None
    assert mirror.forgotten == ["step-10", "optimizer.pt", "ranks.pt", "step-30"]
    assert [name for name, _ in mirror.published].count("step-20") == 1, (
        "its copy is never without a manifest"
    )
    assert mirror.rewritten == ["step-20/manifest.json"]
    checkpoints.keep_only({20, 50})
    assert steps(tmp_path) == [20, 50]
    assert checkpoints.latest() is None


@pytest.mark.parametrize("name", ["model.pt", "optimizer.pt", "ranks.pt", "manifest.json"])
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_a_damaged_one_is_passed_over_and_removed(checkpoints, tmp_path, name, harm):
    save(checkpoints, 10)
    save(checkpoints, 20)
    path = checkpoints.path(20) / name
    data = bytearray(path.read_bytes())
    match harm:
        case "flip":
            data[len(data) // 2] ^= 0x55
            path.write_bytes(data)
        case "cut":
            path.write_bytes(data[: len(data) // 2])
        case "remove":
            path.unlink()
    assert checkpoints.latest().progress.step == 10
    assert steps(tmp_path) == [10]


def test_a_stale_later_checkpoint_does_not_push_out_new_ones(checkpoints, tmp_path):
    for step in (10, 20, 30):
        save(checkpoints, step)
    for step in (20, 30):
        (checkpoints.path(step) / "model.pt").write_bytes(b"x")
    assert checkpoints.latest() is None  # 10 had been pruned
    save(checkpoints, 10)
    assert checkpoints.latest().progress.step == 10


def test_weights_alone_do_not_push_out_new_checkpoints(checkpoints, tmp_path):
    for step in (10, 20, 30, 40):
        save(checkpoints, step, keep={20})
    for step in (30, 40):
        (checkpoints.path(step) / "model.pt").write_bytes(b"x")
    assert checkpoints.latest() is None
    for step in (5, 8, 11):
        save(checkpoints, step)
    assert steps(tmp_path) == [8, 11]


def test_a_kill_while_an_old_one_is_deleted_leaves_no_half_of_it(checkpoints, tmp_path, monkeypatch):
    for step in (10, 20):
        save(checkpoints, step)

    def killed(path):
        next(path.iterdir()).unlink()
        raise SystemExit("killed")

    with monkeypatch.context() as killing:
        killing.setattr("shutil.rmtree", killed)
        with pytest.raises(SystemExit):
            save(checkpoints, 30)
    named = sorted((tmp_path / "checkpoints").glob("step-*"))
    assert [path.name for path in named] == ["step-20", "step-30"]
    assert all(verify(path) for path in named)
    assert checkpoints.latest().step == 30
    assert steps(tmp_path) == [20, 30]


def test_what_went_wrong_in_the_background_is_raised(checkpoints, tmp_path):
    (tmp_path / "checkpoints").write_text("a file where a directory should be")
    checkpoints.save(state(10), set(), lambda _: None)
    with pytest.raises(Exception, match="checkpoints"):
        checkpoints.wait()


def draw():
    return torch.rand(3), random.random(), np.random.rand(3)  # noqa: NPY002 (FunASR draws there too)


def test_random_state_comes_back_exactly(checkpoints):
    save(checkpoints, 10)
    kept = random_state()
    drawn = draw()
    restore_random_state(kept)
    again = draw()
    assert torch.equal(drawn[0], again[0])
    assert drawn[1] == again[1]
    assert np.array_equal(drawn[2], again[2])
    found = checkpoints.load(checkpoints.latest())
    restore_random_state(found.ranks[0])  # as read from disk
