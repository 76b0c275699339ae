"""Parameters of the stages: one model a stage type.

The same classes serve the manifest and the RunSpec. In a manifest only the fields that the user wrote
are set (`model_fields_set`); in a RunSpec every field is decided. Their defaults are therefore not put
into the CRD's schema (the API server would write them in, and a preset could no longer tell a default
from a wish); each field's description states it instead.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from asrtune_api.base import COSMETIC, ApiModel, Boolean, Decimal, Integer, Name, Rule, cosmetic, extra_of

ModulePrefix = Annotated[str, Field(min_length=1, max_length=200)]
Speed = Annotated[Integer, Field(ge=50, le=200)]


class StageType(StrEnum):
    """What a stage does."""

    PREPARE = "Prepare"
    SIMULATE = "Simulate"
    TRAIN = "Train"
    AVERAGE = "Average"
    EVALUATE = "Evaluate"
    EXPORT = "Export"
    PUBLISH = "Publish"


class StageParams(ApiModel):
    """Base of what presets decide."""

    schema_defaults: ClassVar[bool] = False


class PrepareParams(StageParams):
    """Check every utterance, normalise transcripts, write the run's own line lists and statistics."""

    rules = (
        Rule(
            "minMilliseconds must be less than maxMilliseconds",
            "!has(self.minMilliseconds) || !has(self.maxMilliseconds) || self.minMilliseconds < self.maxMilliseconds",
            lambda p: (
                not p.says("min_milliseconds", "max_milliseconds") or p.min_milliseconds < p.max_milliseconds
            ),
        ),
    )

    min_milliseconds: Integer = Field(100, ge=10)
    """Shorter utterances are rejected as TooShort."""
    max_milliseconds: Integer = Field(60_000, ge=100)
    """Longer utterances are rejected as TooLong."""
    remove_event_tags: Boolean = True
    """Remove bracketed event tags such as [laughter] or full-width ones from transcripts."""
    workers: Integer = Field(0, ge=0, le=1024, json_schema_extra=cosmetic())
    """Processes that read audio; 0 takes one a CPU core."""


class NoiseColour(StrEnum):
    """Spectrum of synthetic noise."""

    WHITE = "White"
    PINK = "Pink"
    BABBLE = "Babble"


class Codec(StrEnum):
    """Telephone codecs of ITU-T G.711."""

    MU_LAW = "MuLaw"
    A_LAW = "ALaw"


class Split(StrEnum):
    """Which part of the data."""

    TRAIN = "Train"
    VALIDATION = "Validation"


class SimulateParams(StageParams):
    """Make telephone audio from wideband audio: 8 kHz, band-pass, G.711, noise, and back to 16 kHz."""

    rules = (
        Rule(
            "lowHz must be less than highHz",
            "!has(self.lowHz) || !has(self.highHz) || self.lowHz < self.highHz",
            lambda p: not p.says("low_hz", "high_hz") or p.low_hz < p.high_hz,
        ),
        Rule(
            "snrDbMin must not be greater than snrDbMax",
            "!has(self.snrDbMin) || !has(self.snrDbMax) || double(self.snrDbMin) <= double(self.snrDbMax)",
            lambda p: not p.says("snr_db_min", "snr_db_max") or p.snr_db_min <= p.snr_db_max,
        ),
    )

    sources: list[Name] = Field(default_factory=list, max_length=64)
    """Names of the data sources to simulate; empty: every source of the chosen splits."""
    splits: list[Split] = Field(
        default_factory=lambda: [Split.TRAIN, Split.VALIDATION], min_length=1, max_length=2
    )
    """Splits to simulate. Test sets are never touched."""
    copies: Integer = Field(1, ge=1, le=20)
    """Simulated versions of each training utterance, each with its own channel; validation gets one."""
    keep_original: Boolean = False
    """Also train on the unsimulated utterances."""
    low_hz: Integer = Field(300, ge=0, le=3999)
    """Lower edge of the pass band, Hz."""
    high_hz: Integer = Field(3400, ge=1, le=4000)
    """Upper edge of the pass band, Hz."""
    codecs: list[Codec] = Field(
        default_factory=lambda: [Codec.MU_LAW, Codec.A_LAW], min_length=1, max_length=2
    )
    """G.711 laws to draw from."""
    snr_db_min: Decimal = Field(15.0, ge=-20, le=60)
    """Lowest signal-to-noise ratio, dB."""
    snr_db_max: Decimal = Field(25.0, ge=-20, le=60)
    """Highest signal-to-noise ratio, dB."""
    noises: list[NoiseColour] = Field(
        default_factory=lambda: [NoiseColour.WHITE, NoiseColour.PINK], min_length=1, max_length=3
    )
    """Kinds of noise to draw from."""
    speed_percents: list[Speed] = Field(default_factory=lambda: [100], min_length=1, max_length=32)
    """Speeds to draw from for training copies; 100 leaves the speed as it is."""
    workers: Integer = Field(0, ge=0, le=1024, json_schema_extra=cosmetic())
    """Processes; 0 takes one a CPU core."""


class BatchUnit(StrEnum):
    """What a batch's size counts (the longest utterance times the number of utterances)."""

    FRAMES = "Frames"
    TOKENS = "Tokens"
    UTTERANCES = "Utterances"


class BatchParams(StageParams):
    """How utterances are put together."""

    unit: BatchUnit = BatchUnit.FRAMES
    """Frames: 10 ms fbank frames, padding included; Tokens: the same plus transcript tokens; Utterances: a count."""
    size: Integer = Field(6000, ge=1)
    """Upper limit of one rank's batch in that unit."""
    max_utterances: Integer = Field(256, ge=1)
    """Upper limit of utterances in one rank's batch."""


class Schedule(StrEnum):
    """Learning-rate schedule after warm-up."""

    CONSTANT = "Constant"
    COSINE = "Cosine"
    LINEAR = "Linear"
    INVERSE_SQUARE_ROOT = "InverseSquareRoot"


class Optimizer(StrEnum):
    """Optimiser."""

    ADAM = "Adam"
    ADAMW = "AdamW"


class Precision(StrEnum):
    """Arithmetic of forward and backward; weights and optimiser state stay fp32."""

    AUTO = "Auto"
    FP32 = "FP32"
    BF16 = "BF16"
    FP16 = "FP16"


class Metric(StrEnum):
    """What a checkpoint is judged by."""

    CER = "CER"
    LOSS = "Loss"
    ACCURACY = "Accuracy"


class ValidationParams(StageParams):
    """When and how the model is validated during training."""

    every_steps: Integer | None = Field(None, ge=1)
    """Validate every N optimiser steps; unset: at the end of each epoch."""
    decode_utterances: Integer = Field(500, ge=0)
    """Validation utterances decoded for CER, evenly spread; 0 switches decoding off."""


class SelectionParams(StageParams):
    """Which checkpoints are kept as the best."""

    metric: Metric = Metric.CER
    """Judge by decoded CER, validation loss, or token accuracy."""
    keep: Integer = Field(5, ge=1, le=100)
    """How many best checkpoints are kept."""
    patience: Integer | None = Field(None, ge=1)
    """Stop after this many validations without a new best; unset: never stop early."""


class TrainParams(StageParams):
    """Fine-tune the model."""

    epochs: Integer = Field(10, ge=1)
    """Passes over the training data."""
    max_steps: Integer | None = Field(None, ge=1)
    """Stop after this many optimiser steps, whatever the epochs."""
    optimizer: Optimizer = Optimizer.ADAMW
    """Optimiser."""
    learning_rate: Decimal = Field(5e-5, gt=0)
    """Peak learning rate."""
    weight_decay: Decimal = Field(0.01, ge=0)
    """Weight decay."""
    schedule: Schedule = Schedule.INVERSE_SQUARE_ROOT
    """How the learning rate goes down after warm-up."""
    warmup_steps: Integer | None = Field(None, ge=0)
    """Optimiser steps of linear warm-up, at most half of the run; unset: a tenth of the run, 1,000 at most."""
    gradient_clip: Decimal = Field(5.0, ge=0)
    """Largest global gradient norm; 0 switches clipping off."""
    accumulate: Integer = Field(1, ge=1)
    """Batches whose gradients make one optimiser step."""
    precision: Precision = Precision.AUTO
    """Auto takes BF16 where the GPU has it, else FP32."""
    batch: BatchParams = Field(default_factory=BatchParams)
    """How utterances are put together."""
    freeze: list[ModulePrefix] = Field(default_factory=list, max_length=64)
    """Components that are not trained (encoder, decoder, adaptor, ctc, llm), or prefixes of parameter names."""
    validation: ValidationParams = Field(default_factory=ValidationParams)
    """When and how the model is validated."""
    selection: SelectionParams = Field(default_factory=SelectionParams)
    """Which checkpoints are kept."""
    non_finite_allowance: Integer = Field(20, ge=0)
    """Steps with a non-finite loss or gradient that are skipped before the run is given up as diverged."""
    log_every_steps: Integer = Field(50, ge=1, json_schema_extra=cosmetic())
    """Optimiser steps between two log lines."""
    workers: Integer = Field(2, ge=0, le=1024, json_schema_extra=cosmetic())
    """Data-loading processes a rank; 0 loads in the training process."""
    feature_cache_mib: Integer = Field(1024, ge=0, alias="featureCacheMiB", json_schema_extra=cosmetic())
    """Memory for features kept between epochs; only data that fits as a whole is cached."""


class AverageParams(StageParams):
    """Average the weights of the best checkpoints."""

    best: Integer = Field(5, ge=1, le=100)
    """How many of the best checkpoints to average; fewer are used when fewer were kept."""


class ErrorUnit(StrEnum):
    """Unit of the error rate."""

    CHARACTER = "Character"
    WORD = "Word"


class ScoringParams(StageParams):
    """How models are decoded and scored."""

    unit: ErrorUnit = ErrorUnit.CHARACTER
    """Character: CER without white space; Word: WER."""
    ignore_case: Boolean = True
    """Compare without regard to case."""
    ignore_punctuation: Boolean = True
    """Compare without punctuation."""
    batch_seconds: Integer = Field(60, ge=1)
    """Audio decoded at once, with padding."""
    worst_utterances: Integer = Field(20, ge=0, le=200)
    """How many of the worst utterances the report shows for each set."""
    bootstrap_samples: Integer = Field(1000, ge=100, le=100_000)
    """Resamplings behind each 95 % interval."""


class EvaluateParams(ScoringParams):
    """Decode the test sets with the base and the fine-tuned model and score them."""

    baseline: Boolean = True
    """Also score the base model."""


class WeightFormat(StrEnum):
    """Number format of exported weights."""

    FP32 = "FP32"
    FP16 = "FP16"


class ExportParams(StageParams):
    """Write a model directory that stock FunASR loads, and prove it in a clean process."""

    weights: WeightFormat = WeightFormat.FP32
    """Number format of the exported weights."""
    verify_utterances: Integer = Field(3, ge=0)
    """Utterances decoded with stock FunASR in a clean process and compared; 0 switches the proof off."""


class PublishParams(StageParams):
    """Place the model and the report at the output URI, marker last."""


PARAMS: dict[StageType, tuple[str, type[StageParams]]] = {
    StageType.PREPARE: ("prepare", PrepareParams),
    StageType.SIMULATE: ("simulate", SimulateParams),
    StageType.TRAIN: ("train", TrainParams),
    StageType.AVERAGE: ("average", AverageParams),
    StageType.EVALUATE: ("evaluate", EvaluateParams),
    StageType.EXPORT: ("export", ExportParams),
    StageType.PUBLISH: ("publish", PublishParams),
}
"""Stage type -> the key its parameters stand under, and their model."""


class StageOverride(StageParams):
    """What to change in one stage of a preset."""

    rules = (
        Rule(
            "parameters must stand under the key of the stage's own type: train for a Train stage, prepare for a "
            "Prepare stage, and so on",
            "!has(self.type) || ("
            + " && ".join(f"(!has(self.{key}) || self.type == '{kind}')" for kind, (key, _) in PARAMS.items())
            + ")",
            lambda s: s.type is None or all(s.type == kind for kind in s.types_given()),
        ),
    )

    name: Name
    """Name of the stage, unique within the chain."""
    type: StageType | None = None
    """What the stage does; may be left out, since the preset says it."""
    prepare: PrepareParams | None = None
    """Parameters of a Prepare stage."""
    simulate: SimulateParams | None = None
    """Parameters of a Simulate stage."""
    train: TrainParams | None = None
    """Parameters of a Train stage."""
    average: AverageParams | None = None
    """Parameters of an Average stage."""
    evaluate: EvaluateParams | None = None
    """Parameters of an Evaluate stage."""
    export: ExportParams | None = None
    """Parameters of an Export stage."""
    publish: PublishParams | None = None
    """Parameters of a Publish stage."""

    def types_given(self) -> list[StageType]:
        """The stage types under whose keys parameters stand."""
        return [kind for kind, (key, _) in PARAMS.items() if getattr(self, key) is not None]

    @model_serializer(mode="wrap")
    def _without_other_types(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}


class StageSpec(StageOverride):
    """One stage of the chain: its name, its type, and the parameters under the type's own key."""

    type: StageType
    """What the stage does."""


def stage_params(stage: StageSpec) -> StageParams:
    """The stage's own parameters; all defaults, none of them set, where the manifest gave none."""
    key, model = PARAMS[stage.type]
    params = getattr(stage, key)
    return params if isinstance(params, StageParams) else model()


def semantic_params(stage: StageSpec) -> dict[str, Any]:
    """The parameters that can change the stage's result, as JSON-able values by their names in files.

    Fingerprints are made of it: a change of what is left out (fields marked `cosmetic`: worker counts, log
    intervals, cache sizes) repeats no stage.
    """
    return _semantic(stage_params(stage))


def _semantic(params: ApiModel) -> dict[str, Any]:
    values = params.model_dump(mode="json", by_alias=True)
    for name, field in type(params).model_fields.items():
        value, key = getattr(params, name), field.alias or name
        if extra_of(field, COSMETIC):
            del values[key]
        elif isinstance(value, ApiModel):
            values[key] = _semantic(value)
    return values
