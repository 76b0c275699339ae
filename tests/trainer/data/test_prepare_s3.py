"""Lists and audio on a real S3 server."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asrtune_api.errors import DataInvalidError
from asrtune_api.stages import PrepareParams, SimulateParams
from asrtune_trainer.data import cache as cache_module
from asrtune_trainer.data.audio import load_audio
from asrtune_trainer.data.cache import AudioCache
from asrtune_trainer.data.utterance import read_utterances
from asrtune_trainer.stages.base import StageContext
from asrtune_trainer.stages.prepare import PrepareStage
from asrtune_trainer.stages.simulate import SimulateStage
from asrtune_trainer.storage import S3Settings
from tools.speech import write_speech
from tools.stages import data_spec, finished, read_jsonl, stage_context
from tools.versitygw import S3Server

pytestmark = pytest.mark.s3


@pytest.fixture
def settings(s3_server: S3Server, tmp_path: Path) -> S3Settings:
    return S3Settings(
        endpoint=s3_server.endpoint, credentials_dir=s3_server.write_credentials(tmp_path / "secret")
    )


@pytest.fixture
def put(s3_server: S3Server, bucket: str, tmp_path: Path) -> Callable[..., str]:
    """Uploads a list of utterances and its audio: name, number, first seed; returns the list's URI."""
    client = s3_server.client()

    def upload(name: str, count: int, seed: int = 0) -> str:
        lines = []
        for number in range(count):
            audio = write_speech(tmp_path / "up" / f"{number}.flac", 0.6, seed + number)
            client.upload_file(str(audio), bucket, f"corpus/wav/{name}/{number}.flac")
            source = (
                f"../wav/{name}/{number}.flac"
                if number % 2
                else f"s3://{bucket}/corpus/wav/{name}/{number}.flac"
            )
            lines.append(json.dumps({"key": f"{name}{number}", "source": source, "target": f"句 {number}"}))
        client.put_object(Bucket=bucket, Key=f"corpus/lists/{name}.jsonl", Body="\n".join(lines).encode())
        return f"s3://{bucket}/corpus/lists/{name}.jsonl"

    return upload


def context_of(root: Path, settings: S3Settings, put: Callable[..., str], **params: Any) -> StageContext:
    spec = data_spec([put("train", 6)], put("validation", 2, 50), percent=30)
    return stage_context(root, PrepareParams(**params), spec, s3=settings)


@pytest.mark.parametrize("few", [0, 200])
def test_lists_and_audio_on_s3(
    tmp_path: Path,
    settings: S3Settings,
    put: Callable[..., str],
    bucket: str,
    s3_server: S3Server,
    monkeypatch: pytest.MonkeyPatch,
    few: int,
) -> None:
    monkeypatch.setattr(cache_module, "_FEW", few)  # by listing prefixes, and one by one
    context = context_of(tmp_path / "run", settings, put)
    s3_server.client().delete_object(Bucket=bucket, Key="corpus/wav/train/3.flac")
    before = PrepareStage().inputs(context)
    result = PrepareStage().run(context)
    used = list(read_utterances(context.directory / "train.jsonl"))
    assert [one.key for one in used] == [f"train/train{n}" for n in (0, 1, 2, 4, 5)]
    assert used[1].source == f"s3://{bucket}/corpus/wav/train/1.flac"
    (reject,) = read_jsonl(context.directory / "rejects.jsonl")
    assert (reject["line"], reject["reason"]) == (4, "FileMissing")
    assert reject["file"] == f"s3://{bucket}/corpus/lists/train.jsonl"
    assert result.metrics["utterances"] == 7
    assert PrepareStage().inputs(context) == before


def test_changed_object_changes_the_inputs_and_is_fetched_again(
    tmp_path: Path, settings: S3Settings, put: Callable[..., str], bucket: str, s3_server: S3Server
) -> None:
    context = context_of(tmp_path / "run", settings, put)
    before = PrepareStage().inputs(context)
    digest = PrepareStage().run(context).details["sets"]["train/train"]["audioDigest"]
    other = write_speech(tmp_path / "other.flac", 0.6, 999)
    s3_server.client().upload_file(str(other), bucket, "corpus/wav/train/0.flac")
    after = PrepareStage().inputs(context)
    assert after["train/train"] != before["train/train"]
    assert after["validation/validation"] == before["validation/validation"]
    assert PrepareStage().run(context).details["sets"]["train/train"]["audioDigest"] != digest


def test_audio_is_fetched_once_and_again_when_the_cache_vanished(
    tmp_path: Path, settings: S3Settings, put: Callable[..., str], s3_server: S3Server, bucket: str
) -> None:
    context = context_of(tmp_path / "run", settings, put)
    PrepareStage().run(context)
    used = list(read_utterances(context.directory / "train.jsonl"))
    local = AudioCache(context.scratch, context.stores).localise(used)
    copies = [Path(one.source) for one in local]
    assert all(path.is_relative_to(context.scratch) for path in copies)
    marks = [path.stat().st_ino for path in copies]
    AudioCache(context.scratch, context.stores).localise(used)
    assert [path.stat().st_ino for path in copies] == marks
    copies[2].unlink()
    again = AudioCache(context.scratch, context.stores).localise(used)
    assert again == local
    assert len(load_audio(copies[2])) == 9600
    s3_server.client().delete_object(Bucket=bucket, Key="corpus/wav/train/1.flac")
    with pytest.raises(DataInvalidError) as caught:
        AudioCache(context.scratch, context.stores).localise(used)
    assert caught.value.where == f"s3://{bucket}/corpus/wav/train/1.flac"


def test_simulation_of_audio_on_s3(tmp_path: Path, settings: S3Settings, put: Callable[..., str]) -> None:
    context = context_of(tmp_path / "run", settings, put)
    upstream = {"prepare": finished(context, PrepareStage().run(context))}
    second = stage_context(
        tmp_path / "run", SimulateParams(), context.run.data, upstream=upstream, s3=settings
    )
    SimulateStage().run(second)
    assert [len(load_audio(one.source)) for one in read_utterances(second.directory / "train.jsonl")] == [
        9600
    ] * 6
