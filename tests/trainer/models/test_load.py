"""Wrong model directories give one clear message with a remedy; nothing that a directory brings is run."""

from __future__ import annotations

import json
import pickle
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from asrtune_api.errors import ExitCode, SpecInvalidError, StorageUnavailableError
from asrtune_api.finetune import ModelRef
from asrtune_trainer.models.load import FAMILIES, load_model, resolve_model
from asrtune_trainer.storage import S3Settings, Stores
from tools.ports import free_port
from tools.tiny_models import make_tiny_model
from tools.versitygw import S3Server

CPU = torch.device("cpu")


@pytest.fixture
def directory(directories: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the CTC model to spoil."""
    return shutil.copytree(directories["ctc"], tmp_path / "model")


def _refused(directory: Path) -> SpecInvalidError:
    with pytest.raises(SpecInvalidError) as caught:
        load_model(directory, device=CPU, seed=0)
    assert caught.value.exit_code == ExitCode.SPEC_INVALID
    assert caught.value.remedy
    assert str(directory) in caught.value.where
    return caught.value


def _edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = yaml.safe_load(path.read_text("utf-8"))
    change(content)
    path.write_text(yaml.safe_dump(content) if path.suffix == ".yaml" else json.dumps(content), "utf-8")


def _weights(directory: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(directory / "model.pt", weights_only=True)["state_dict"]
    return state


def test_no_such_directory(tmp_path: Path) -> None:
    assert "no such model directory" in _refused(tmp_path / "nowhere").message


def test_no_configuration(directory: Path) -> None:
    (directory / "configuration.json").unlink()
    (directory / "config.yaml").unlink()
    assert "no configuration.json and no config.yaml" in _refused(directory).message


@pytest.mark.parametrize("plain", [True, False])
def test_no_weights(directory: Path, plain: bool) -> None:
    if plain:
        (directory / "configuration.json").unlink()
    (directory / "model.pt").unlink()
    error = _refused(directory)
    assert "no weights" in error.message
    assert "model.pt" in error.remedy


@pytest.mark.parametrize("name", ["configuration.json", "config.yaml"])
def test_broken_configuration(directory: Path, name: str) -> None:
    (directory / name).write_text("{ this is not", "utf-8")
    assert "cannot be read" in _refused(directory).message


def test_configuration_json_that_names_no_config(directory: Path) -> None:
    (directory / "configuration.json").write_text('{"framework": "pytorch"}', "utf-8")
    error = _refused(directory)
    assert "names no model class" in error.message
    assert "file_path_metas.config" in error.remedy


def test_unknown_model_class(directory: Path) -> None:
    _edit(directory / "config.yaml", lambda config: config.update(model="Whisper"))
    error = _refused(directory)
    assert "Whisper" in error.message
    assert all(name in error.remedy for name in FAMILIES)


@pytest.mark.parametrize("name", ["tokens.json", "am.mvn"])
def test_files_that_configuration_json_names_must_be_there(directory: Path, name: str) -> None:
    """Stock FunASR goes on without them: without CMVN that trains another model."""
    (directory / name).unlink()
    assert f"does not hold {name}" in _refused(directory).message


def test_no_tokens(directory: Path) -> None:
    _edit(directory / "configuration.json", lambda content: content["file_path_metas"].pop("tokenizer_conf"))
    error = _refused(directory)
    assert "tokenizer CharTokenizer has no tokens" in error.message
    assert "tokenizer_conf" in error.remedy


def test_missing_tensors_are_named_and_counted(directory: Path) -> None:
    state = _weights(directory)
    kept = {key: value for key, value in state.items() if not key.startswith("ctc.")}
    torch.save({"state_dict": kept}, directory / "model.pt")
    message = _refused(directory).message
    assert f"of {len(state)} tensors, 2 missing (ctc.ctc_lo.weight, ctc.ctc_lo.bias)" in message


def test_tensors_of_another_shape_are_named_with_both_shapes(directory: Path) -> None:
    state = _weights(directory)
    torch.save({**state, "ctc.ctc_lo.bias": torch.zeros(5)}, directory / "model.pt")
    assert "1 of another shape (ctc.ctc_lo.bias (5,) instead of (20,))" in _refused(directory).message


def test_tensors_too_many_are_left_out_with_a_warning(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save({**_weights(directory), "decoder.weight": torch.zeros(5)}, directory / "model.pt")
    model = load_model(directory, device=CPU, seed=0)
    assert "decoder.weight" not in model.module.state_dict()
    assert "1 more (decoder.weight)" in caplog.text


@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_damaged_weights(directory: Path, damage: str) -> None:
    path = directory / "model.pt"
    content = path.read_bytes()
    path.write_bytes(
        {"truncated": content[: len(content) // 2], "empty": b"", "text": b"oid sha256:1\n"}[damage]
    )
    assert "damaged" in str(_refused(directory))


def test_weights_with_a_flipped_member_are_refused(directory: Path) -> None:
    """A zip whose tensors are cut short inside."""
    source = directory / "model.pt"
    with zipfile.ZipFile(source) as good, zipfile.ZipFile(directory / "bad.pt", "w") as bad:
        for member in good.infolist():
            data = good.read(member)
            bad.writestr(member.filename, data[: len(data) // 2] if "/data/" in member.filename else data)
    (directory / "bad.pt").replace(source)
    _refused(directory)


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("evil-was-here"),)


def test_pickled_code_is_not_run(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({**_weights(directory), "evil": _Evil()}, directory / "model.pt")
    assert "Python objects" in _refused(directory).message
    (directory / "model.pt").write_bytes(pickle.dumps(_Evil()))
    _refused(directory)
    assert not Path("evil-was-here").exists()


def test_code_of_the_directory_is_not_run(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = directory / "model.py"
    code.write_text("from pathlib import Path\nPath('evil-was-here').touch()\n", "utf-8")
    (directory / "requirements.txt").write_text("no-such-package-for-sure\n", "utf-8")
    _edit(
        directory / "config.yaml", lambda config: config.update(trust_remote_code=True, remote_code=str(code))
    )
    model = load_model(directory, device=CPU, seed=0)
    assert not Path("evil-was-here").exists()
    model.export(tmp_path / "out", model.module.state_dict(), half=False)
    assert "remote_code" not in (tmp_path / "out" / "config.yaml").read_text("utf-8")
    assert not (tmp_path / "out" / "model.py").exists()


def test_plain_config_yaml_does_too(directory: Path, directories: dict[str, Path]) -> None:
    """Without configuration.json FunASR takes model.pt, tokens.json and am.mvn by their names."""
    (directory / "configuration.json").unlink()
    own = load_model(directory, device=CPU, seed=0)
    other = load_model(directories["ctc"], device=CPU, seed=0)
    features = [torch.randn(20, 560, generator=torch.Generator().manual_seed(1))]
    assert own.decode(features, [""]) == other.decode(features, [""]) != [""]


def test_checkpoints_of_ddp_and_plain_state_dicts_load(directory: Path) -> None:
    state = _weights(directory)
    for content in (state, {"model": state}, {"state_dict": {f"module.{k}": v for k, v in state.items()}}):
        torch.save(content, directory / "model.pt")
        own = load_model(directory, device=CPU, seed=0).module.state_dict()
        assert all(torch.equal(own[key], value) for key, value in state.items())


def test_random_state_is_left_alone(directory: Path) -> None:
    def states() -> tuple[Any, ...]:
        return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002

    before = states()
    load_model(directory, device=CPU, seed=0)
    assert states() == before


def test_dither_is_drawn_from_the_audio(tmp_path: Path, corpus: list[Any]) -> None:
    plain = load_model(make_tiny_model("ctc", tmp_path / "plain"), device=CPU, seed=0)
    dithered = load_model(
        make_tiny_model("ctc", tmp_path / "dithered", frontend_conf={"dither": 1.0}), device=CPU, seed=0
    )
    waveform = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    first, second = (dithered.sample(waveform, corpus[0]).features for _ in range(2))
    assert torch.equal(first, second)
    clean = plain.sample(waveform, corpus[0]).features
    assert not torch.equal(first, clean)
    assert torch.allclose(first, clean, atol=0.05), "an amplitude of 1/32768 changes little at this level"


def test_resolve_takes_a_directory_as_it_is(directories: dict[str, Path], tmp_path: Path) -> None:
    ref = ModelRef(uri=str(directories["ctc"]))
    assert resolve_model(ref, Stores(), tmp_path) == directories["ctc"]


@pytest.mark.s3
def test_resolve_fetches_from_s3_once_a_version(
    directories: dict[str, Path], s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    secret = s3_server.write_credentials(tmp_path / "secret")
    stores = Stores(S3Settings(endpoint=s3_server.endpoint, credentials_dir=secret))
    ref = ModelRef(uri=f"s3://{bucket}/models/ctc")
    with pytest.raises(SpecInvalidError, match="no model here"):
        resolve_model(ref, stores, tmp_path / "scratch")
    stores.of(ref.uri or "").publish(directories["ctc"], ref.uri or "", last=("configuration.json",))
    first = resolve_model(ref, stores, tmp_path / "scratch")
    assert load_model(first, device=CPU, seed=0).family == "ctc"
    assert resolve_model(ref, stores, tmp_path / "scratch") == first
    stores.of(ref.uri or "").write_bytes(f"{ref.uri}/seg_dict", b"a b\n")
    second = resolve_model(ref, stores, tmp_path / "scratch")
    assert second != first
    assert (second / "seg_dict").is_file()


def test_resolve_says_that_s3_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "AWS_ACCESS_KEY_ID").write_text("a")
    (tmp_path / "AWS_SECRET_ACCESS_KEY").write_text("b")
    settings = S3Settings(endpoint=f"http://127.0.0.1:{free_port()}", credentials_dir=tmp_path)
    with pytest.raises(StorageUnavailableError):
        resolve_model(ModelRef(uri="s3://bucket/model"), Stores(settings), tmp_path)
