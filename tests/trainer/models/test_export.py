"""Exported directories: complete, self-contained, whole or not at all."""

from __future__ import annotations

import json
import resource
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from asrtune_api.errors import InternalStageError, SpecInvalidError, StorageUnavailableError
from asrtune_trainer.models.base import SpeechModel
from asrtune_trainer.models.load import load_model
from tools.tiny_models import CHARACTERS

CPU = torch.device("cpu")
FEATURES = [torch.randn(30, 560, generator=torch.Generator().manual_seed(2))]


def _files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def test_round_trip(model: SpeechModel, tmp_path: Path) -> None:
    state = {key: value + 0.01 for key, value in model.module.state_dict().items()}
    model.export(tmp_path / "out", state, half=False)
    tokens = {"sensevoice": "bpe.model"}.get(model.family, "tokens.json")
    assert _files(tmp_path / "out") == {"config.yaml", "configuration.json", "model.pt", "am.mvn", tokens}
    again = load_model(tmp_path / "out", device=CPU, seed=9)
    assert all(torch.equal(value, state[key]) for key, value in again.module.state_dict().items())
    model.module.load_state_dict(state)
    assert again.decode(FEATURES, ["zh"]) == model.decode(FEATURES, ["zh"])


def test_a_directory_of_stock_training_becomes_self_contained(
    directories: dict[str, Path], tmp_path: Path
) -> None:
    """FunASR's own training leaves a config.yaml with absolute paths, checkpoints, and optimiser state."""
    base, elsewhere = tmp_path / "exp", tmp_path / "elsewhere"
    shutil.copytree(directories["ctc"], elsewhere)
    (elsewhere / "seg").mkdir()
    (elsewhere / "seg" / "seg_dict").write_text(
        "".join(f"{one} {one}\n" for one in CHARACTERS), encoding="utf-8"
    )
    base.mkdir()
    shutil.move(elsewhere / "model.pt", base / "model.pt")
    for leftover in ("model.pt.ep1", "train.log", "model.pt.avg10"):
        (base / leftover).write_text("left over")
    config = yaml.safe_load((elsewhere / "config.yaml").read_text("utf-8"))
    config["tokenizer_conf"] |= {
        "token_list": str(elsewhere / "tokens.json"),
        "seg_dict": str(elsewhere / "seg" / "seg_dict"),
    }
    config["frontend_conf"]["cmvn_file"] = str(elsewhere / "am.mvn")
    config["output_dir"] = str(base)
    (base / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    model = load_model(base, device=CPU, seed=0)
    expected = model.decode(FEATURES, [""])
    model.export(tmp_path / "out", model.module.state_dict(), half=False)
    shutil.rmtree(base)
    shutil.rmtree(elsewhere)
    assert _files(tmp_path / "out") == {
        "config.yaml",
        "configuration.json",
        "model.pt",
        "am.mvn",
        "tokens.json",
        "seg_dict",
    }
    for name in ("config.yaml", "configuration.json"):
        assert str(tmp_path) not in (tmp_path / "out" / name).read_text("utf-8")
    moved = (tmp_path / "out").rename(tmp_path / "moved")
    assert load_model(moved, device=CPU, seed=0).decode(FEATURES, [""]) == expected


def test_an_older_directory_is_replaced_as_a_whole(model: SpeechModel, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "stale").touch()
    model.export(out, model.module.state_dict(), half=False)
    assert "stale" not in _files(out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_disk_that_fails_leaves_nothing(model: SpeechModel, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # no file of this process may be longer
    try:
        with pytest.raises(StorageUnavailableError, match="File too large"):
            model.export(tmp_path / "out", model.module.state_dict(), half=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", ["missing", "extra", "shape"])
def test_foreign_weights_are_refused(model: SpeechModel, tmp_path: Path, fault: str) -> None:
    state = dict(model.module.state_dict())
    match fault:
        case "missing":
            state.pop("ctc.ctc_lo.bias")
        case "extra":
            state["lora.weight"] = torch.zeros(1)
        case "shape":
            state["ctc.ctc_lo.bias"] = torch.zeros(3)
    with pytest.raises(InternalStageError, match=r"ctc\.ctc_lo\.bias|lora\.weight"):
        model.export(tmp_path / "out", state, half=False)
    assert not (tmp_path / "out").exists()


def test_half_precision_is_half_the_size_and_never_overflows(model: SpeechModel, tmp_path: Path) -> None:
    state = model.module.state_dict()
    model.export(tmp_path / "full", state, half=False)
    model.export(tmp_path / "half", state, half=True)
    full, half = ((tmp_path / name / "model.pt").stat().st_size for name in ("full", "half"))
    assert half < 0.7 * full
    state["ctc.ctc_lo.bias"] = state["ctc.ctc_lo.bias"] + 1e6
    with pytest.raises(SpecInvalidError, match=r"ctc\.ctc_lo\.bias"):
        model.export(tmp_path / "over", state, half=True)


def test_configuration_names_every_file(model: SpeechModel, tmp_path: Path) -> None:
    model.export(tmp_path / "out", model.module.state_dict(), half=False)
    metas = json.loads((tmp_path / "out" / "configuration.json").read_text("utf-8"))["file_path_metas"]
    assert metas["init_param"] == "model.pt"
    assert metas["config"] == "config.yaml"
    assert metas["frontend_conf"] == {"cmvn_file": "am.mvn"}
