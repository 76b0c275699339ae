"""Parameters of the stages: one model a stage type.

The same classes serve the manifest and the RunSpec. In a manifest only the fields that the user wrote
are set (`model_fields_set`); in a RunSpec every field is decided. Their defaults are therefore not put
into the CRD's schema (the API server would write them in, and a preset could no longer tell a default
from a wish); each field's description states it instead.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from asrtune_api.base import ApiModel, Decimal, Name

Percent = Annotated[int, Field(ge=0, le=100)]


class StageType(StrEnum):
    """What a stage does."""

    PREPARE = "Prepare"
    SIMULATE = "Simulate"
    TRAIN = "Train"
    AVERAGE = "Average"
    EVALUATE = "Evaluate"
    EXPORT = "Export"
    PUBLISH = "Publish"


class PrepareParams(ApiModel):
    """Check every utterance, normalise transcripts, write the run's own line lists and statistics."""

    min_milliseconds: int = Field(100, ge=10)
    """Shorter utterances are rejected as TooShort."""
    max_milliseconds: int = Field(60_000, ge=100)
    """Longer utterances are rejected as TooLong."""
    remove_event_tags: bool = True
    """Remove bracketed event tags such as [laughter] or full-width ones from transcripts."""
    workers: int = Field(0, ge=0)
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


class SimulateParams(ApiModel):
    """Make telephone audio from wideband audio: 8 kHz, band-pass, G.711, noise, and back to 16 kHz."""

    sources: list[Name] = Field(default_factory=list)
    """Names of the data sources to simulate; empty: every source of the chosen splits."""
    splits: list[Split] = Field(default_factory=lambda: [Split.TRAIN, Split.VALIDATION])
    """Splits to simulate. Test sets are never touched."""
    copies: int = Field(1, ge=1, le=20)
    """Simulated versions of each training utterance, each with its own channel; validation gets one."""
    keep_original: bool = False
    """Also train on the unsimulated utterances."""
    low_hz: int = Field(300, ge=0, le=3999)
    """Lower edge of the pass band, Hz."""
    high_hz: int = Field(3400, ge=1, le=4000)
    """Upper edge of the pass band, Hz."""
    codecs: list[Codec] = Field(default_factory=lambda: [Codec.MU_LAW, Codec.A_LAW], min_length=1)
    """G.711 laws to draw from."""
    snr_db_min: Decimal = Field(15.0, ge=-20, le=60)
    """Lowest signal-to-noise ratio, dB."""
    snr_db_max: Decimal = Field(25.0, ge=-20, le=60)
    """Highest signal-to-noise ratio, dB."""
    noises: list[NoiseColour] = Field(
        default_factory=lambda: [NoiseColour.WHITE, NoiseColour.PINK], min_length=1
    )
    """Kinds of noise to draw from."""
    speed_percents: list[Annotated[int, Field(ge=50, le=200)]] = Field(
        default_factory=lambda: [100], min_length=1
    )
    """Speeds to draw from for training copies; 100 leaves the speed as it is."""
    workers: int = Field(0, ge=0)
    """Processes; 0 takes one a CPU core."""


class BatchUnit(StrEnum):
    """What a batch's size counts (the longest utterance times the number of utterances)."""

    FRAMES = "Frames"
    TOKENS = "Tokens"
    UTTERANCES = "Utterances"


class BatchParams(ApiModel):
    """How utterances are put together."""

    unit: BatchUnit = BatchUnit.FRAMES
    """Frames: 10 ms fbank frames, padding included; Tokens: the same plus transcript tokens; Utterances: a count."""
    size: int = Field(6000, ge=1)
    """Upper limit of one rank's batch in that unit."""
    max_utterances: int = Field(256, ge=1)
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


class ValidationParams(ApiModel):
    """When and how the model is validated during training."""

    every_steps: int | None = Field(None, ge=1)
    """Validate every N optimiser steps; unset: at the end of each epoch."""
    decode_utterances: int = Field(500, ge=0)
    """Validation utterances decoded for CER, evenly spread; 0 switches decoding off."""


class SelectionParams(ApiModel):
    """Which checkpoints are kept as the best."""

    metric: Metric = Metric.CER
    """Judge by decoded CER, validation loss, or token accuracy."""
    keep: int = Field(5, ge=1, le=100)
    """How many best checkpoints are kept."""
    patience: int | None = Field(None, ge=1)
    """Stop after this many validations without a new best; unset: never stop early."""


class TrainParams(ApiModel):
    """Fine-tune the model."""

    epochs: int = Field(10, ge=1)
    """Passes over the training data."""
    max_steps: int | None = Field(None, ge=1)
    """Stop after this many optimiser steps, whatever the epochs."""
    optimizer: Optimizer = Optimizer.ADAMW
    """Optimiser."""
    learning_rate: Decimal = Field(5e-5, gt=0)
    """Peak learning rate."""
    weight_decay: Decimal = Field(0.01, ge=0)
    """Weight decay."""
    schedule: Schedule = Schedule.INVERSE_SQUARE_ROOT
    """How the learning rate goes down after warm-up."""
    warmup_steps: int | None = Field(None, ge=0)
    """Optimiser steps of linear warm-up, at most half of the run; unset: a tenth of the run, 1,000 at most."""
    gradient_clip: Decimal = Field(5.0, ge=0)
    """Largest global gradient norm; 0 switches clipping off."""
    accumulate: int = Field(1, ge=1)
    """Batches whose gradients make one optimiser step."""
    precision: Precision = Precision.AUTO
    """Auto takes BF16 where the GPU has it, else FP32."""
    batch: BatchParams = Field(default_factory=BatchParams)
    """How utterances are put together."""
    freeze: list[str] = Field(default_factory=list)
    """Components that are not trained (encoder, decoder, adaptor, ctc, llm), or prefixes of parameter names."""
    validation: ValidationParams = Field(default_factory=ValidationParams)
    """When and how the model is validated."""
    selection: SelectionParams = Field(default_factory=SelectionParams)
    """Which checkpoints are kept."""
    non_finite_allowance: int = Field(20, ge=0)
    """Steps with a non-finite loss or gradient that are skipped before the run is given up as diverged."""
    log_every_steps: int = Field(50, ge=1)
    """Optimiser steps between two log lines."""
    workers: int = Field(2, ge=0)
    """Data-loading processes a rank; 0 loads in the training process."""
    feature_cache_mib: int = Field(1024, ge=0, alias="featureCacheMiB")
    """Memory for features kept between epochs; only data that fits as a whole is cached."""


class AverageParams(ApiModel):
    """Average the weights of the best checkpoints."""

    best: int = Field(5, ge=1, le=100)
    """How many of the best checkpoints to average; fewer are used when fewer were kept."""


class ErrorUnit(StrEnum):
    """Unit of the error rate."""

    CHARACTER = "Character"
    WORD = "Word"


class EvaluateParams(ApiModel):
    """Decode the test sets with the base and the fine-tuned model and score them."""

    unit: ErrorUnit = ErrorUnit.CHARACTER
    """Character: CER without white space; Word: WER."""
    ignore_case: bool = True
    """Compare without regard to case."""
    ignore_punctuation: bool = True
    """Compare without punctuation."""
    baseline: bool = True
    """Also score the base model."""
    batch_seconds: int = Field(60, ge=1)
    """Audio decoded at once, with padding."""
    worst_utterances: int = Field(20, ge=0, le=200)
    """How many of the worst utterances the report shows for each set."""
    bootstrap_samples: int = Field(1000, ge=100, le=100_000)
    """Resamplings behind each 95 % interval."""


class WeightFormat(StrEnum):
    """Number format of exported weights."""

    FP32 = "FP32"
    FP16 = "FP16"


class ExportParams(ApiModel):
    """Write a model directory that stock FunASR loads, and prove it in a clean process."""

    weights: WeightFormat = WeightFormat.FP32
    """Number format of the exported weights."""
    verify_utterances: int = Field(3, ge=0)
    """Utterances decoded with stock FunASR in a clean process and compared; 0 switches the proof off."""


class PublishParams(ApiModel):
    """Place the model and the report at the output URI, marker last."""


class StageSpec(ApiModel):
    """One stage of the chain: its name, its type, and the parameters under the type's own key."""

    name: Name
    """Name of the stage, unique within the chain."""
    type: StageType
    """What the stage does."""
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
