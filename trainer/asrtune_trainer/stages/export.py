"""Export: a FunASR model directory, proved by stock FunASR in a clean process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import ClassVar

import torch

from asrtune_api.errors import AsrtuneError
from asrtune_api.stages import ExportParams, StageSpec, StageType, WeightFormat
from asrtune_trainer.data.audio import load_audio
from asrtune_trainer.data.cache import AudioCache
from asrtune_trainer.data.utterance import Utterance, read_utterances
from asrtune_trainer.models.base import SpeechModel
from asrtune_trainer.models.load import load_model
from asrtune_trainer.models.sensevoice import strip_tags
from asrtune_trainer.stages.base import StageContext, StageResult, need
from asrtune_trainer.stages.model_input import base_model, model_digest
from asrtune_trainer.telemetry.events import Note, Work
from asrtune_trainer.telemetry.lines import utterances as count_of
from asrtune_trainer.train.checkpoint import load_tensors

PROOF_SECONDS = 600

_PROOF = """
import json, sys
from funasr import AutoModel
paths = json.loads(sys.argv[2])
model = AutoModel(model=sys.argv[1], device="cpu", disable_update=True, disable_pbar=True, log_level="ERROR")
texts = [(model.generate(input=path) or [{"text": ""}])[0]["text"] for path in paths]
print("\\n" + json.dumps(texts))
"""


@dataclass(frozen=True)
class ExportStage:
    """Reads the last model and, for the proof, the validation list."""

    version: ClassVar[int] = 1

    def reads(self, stage: StageSpec, before: Sequence[StageSpec]) -> list[str]:
        return [
            need(stage, before, StageType.PREPARE),
            need(stage, before, StageType.TRAIN, StageType.AVERAGE),
        ]

    def inputs(self, context: StageContext) -> Mapping[str, str]:
        return {"model": model_digest(context)}

    def run(self, context: StageContext) -> StageResult:
        params = context.params(ExportParams)
        base = base_model(context)
        model = load_model(base, device=torch.device("cpu"), seed=context.run.seed)
        weights = load_tensors(context.latest("model").path("model"))
        directory = context.directory / "model"
        shutil.rmtree(directory, ignore_errors=True)
        model.export(directory, weights, half=params.weights is WeightFormat.FP16)
        context.stop.check()
        validation = read_utterances(context.latest("validation").path("validation"))
        cache = AudioCache(context.scratch, context.stores)
        chosen = cache.localise(list(islice(validation, params.verify_utterances)))
        if chosen:
            model = load_model(directory, device=torch.device("cpu"), seed=context.run.seed)
            self._prove(context, model, directory, chosen)
        size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
        return StageResult(
            outputs={"directory": "model"}, metrics={"bytes": float(size)}, details={"proved": len(chosen)}
        )

    def _prove(
        self, context: StageContext, model: SpeechModel, directory: Path, utterances: Sequence[Utterance]
    ) -> None:
        """Stock FunASR must load the directory and decode as we do.

        Raises:
            AsrtuneError: if it cannot load it, or says something else.
        """
        context.telemetry.emit(Work(context.stage.name, "proving with stock FunASR", 0, len(utterances)))
        stock = stock_transcripts(directory, [one.source for one in utterances])
        features = [
            model.sample(load_audio(one.source, model.sample_rate), one).features for one in utterances
        ]
        # Stock is not told the languages either.
        ours = model.decode(features, [""] * len(features))
        for utterance, theirs, text in zip(utterances, stock, ours, strict=True):
            if strip_tags(theirs) != text:
                raise AsrtuneError(
                    f"the exported model decodes {utterance.key} as {theirs!r} in stock FunASR, but as {text!r} here.",
                    where=str(directory),
                )
        context.telemetry.emit(
            Note(
                context.stage.name,
                f"stock FunASR loads the model and decodes {count_of(len(utterances))} alike",
            )
        )


def stock_transcripts(directory: Path, paths: Sequence[str]) -> list[str]:
    """Transcripts by `funasr.AutoModel(model=directory)` in a clean process, on the CPU.

    Raises:
        AsrtuneError: if it fails; the message ends with its last lines.
    """
    done = subprocess.run(  # noqa: S603 (our own interpreter and program)
        [sys.executable, "-c", _PROOF, str(directory), json.dumps(list(paths))],
        capture_output=True,
        text=True,
        check=False,
        timeout=PROOF_SECONDS,
        start_new_session=True,  # Ctrl-C is for us; a child that it ended would look like a model that is broken
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    if done.returncode != 0:
        tail = "\n".join(done.stderr.splitlines()[-5:])
        raise AsrtuneError(f"stock FunASR cannot use the exported model:\n{tail}", where=str(directory))
    transcripts: list[str] = json.loads(done.stdout.splitlines()[-1])
    return transcripts
