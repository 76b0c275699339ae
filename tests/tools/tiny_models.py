"""Tiny random FunASR model directories and a synthetic corpus that they can learn, made in a second or two."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import yaml

from asrtune_trainer.data.utterance import Utterance
from asrtune_trainer.models.build import build
from asrtune_trainer.models.directory import ModelDirectory

SAMPLE_RATE = 16_000
CHARACTERS = "零一二三四五六七八九abcdef"
FAMILIES = ("ctc", "paraformer", "sensevoice")
INPUT_SIZE = 560  # 80 mel bands times 7 stacked frames
SENSEVOICE_PIECES = 25_055
# Token ids that FunASR's SenseVoiceSmall has in its code.
SENSEVOICE_TAGS = {
    24884: "<|zh|>",
    24885: "<|en|>",
    24888: "<|yue|>",
    24892: "<|ja|>",
    24896: "<|ko|>",
    24992: "<|nospeech|>",
    24993: "<|Speech|>",
    25001: "<|HAPPY|>",
    25002: "<|SAD|>",
    25003: "<|ANGRY|>",
    25004: "<|NEUTRAL|>",
    25009: "<|EMO_UNKNOWN|>",
    25016: "<|withitn|>",
    25017: "<|woitn|>",
}
_FRONTEND = {
    "frontend": "WavFrontend",
    "frontend_conf": {
        "fs": SAMPLE_RATE,
        "window": "hamming",
        "n_mels": 80,
        "frame_length": 25,
        "frame_shift": 10,
        "lfr_m": 7,
        "lfr_n": 6,
        "dither": 0.0,
    },
}
_CTC = {"ctc_conf": {"dropout_rate": 0.0, "ctc_type": "builtin", "reduce": True, "ignore_nan_grad": True}}
_CHARACTERS = {"tokenizer": "CharTokenizer", "tokenizer_conf": {"unk_symbol": "<unk>"}}
_SIZES = {
    "output_size": 32,
    "attention_heads": 2,
    "linear_units": 64,
    "num_blocks": 2,
    "dropout_rate": 0.0,
    "attention_dropout_rate": 0.0,
    "kernel_size": 11,
    "sanm_shfit": 0,
}
_LIST = {"index_ds": "IndexDSJsonl", "batch_sampler": "BatchSampler", "batch_type": "token"}
_LIMITS = {"batch_size": 2000, "sort_size": 600, "max_token_length": 2048, "num_workers": 0, "shuffle": True}


def make_tiny_model(family: str, directory: Path, seed: int = 0, **changes: Mapping[str, Any]) -> Path:
    """Writes a model directory of a family (ctc, paraformer, sensevoice) with random weights.

    Args:
        family: one of `FAMILIES`.
        directory: where to; made where it is missing.
        seed: of the weights.
        changes: what to change in sections of config.yaml, such as encoder_conf={"dropout_rate": 0.1}.

    Returns:
        the directory.
    """
    directory.mkdir(parents=True, exist_ok=True)
    config = _config(family)
    for section, values in changes.items():
        config[section] = {**config.get(section, {}), **values}
    tokens = _write_bpe(directory) if family == "sensevoice" else _write_tokens(directory)
    _write_cmvn(directory / "am.mvn", seed)
    metas = {
        "init_param": "model.pt",
        "config": "config.yaml",
        "tokenizer_conf": tokens,
        "frontend_conf": {"cmvn_file": "am.mvn"},
    }
    (directory / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
    (directory / "configuration.json").write_text(
        json.dumps({"framework": "pytorch", "file_path_metas": metas}), "utf-8"
    )
    torch.save({"state_dict": _random_state(config, directory, tokens, seed)}, directory / "model.pt")
    return directory


def make_corpus(
    directory: Path, n: int, seed: int = 0, *, length: tuple[int, int] = (3, 8)
) -> list[Utterance]:
    """Writes `n` utterances as 16-bit WAV files: each character a tone of its own, in noise; 0.6 to 1.5 s long.

    Args:
        directory: where to; made where it is missing.
        n: how many.
        seed: of texts and audio; the same seed gives the same files.
        length: fewest and most characters of an utterance.
    """
    directory.mkdir(parents=True, exist_ok=True)
    return [_utterance(directory, index, np.random.default_rng([seed, index]), length) for index in range(n)]


def write_stock_list(path: Path, utterances: list[Utterance]) -> Path:
    """Writes the utterances as a JSONL that FunASR's own data sets read."""
    with path.open("w", encoding="utf-8") as lines:
        for utterance in utterances:
            line = {
                "key": utterance.key,
                "source": utterance.source,
                "target": utterance.target,
                "source_len": utterance.source_len,
                "target_len": utterance.target_len,
            }
            if utterance.language:
                line["text_language"] = f"<|{utterance.language}|>"
            lines.write(json.dumps(line, ensure_ascii=False) + "\n")
    return path


def _utterance(directory: Path, index: int, rng: np.random.Generator, length: tuple[int, int]) -> Utterance:
    text = "".join(rng.choice(list(CHARACTERS), rng.integers(length[0], length[1] + 1)))
    parts = [_tone(character, rng) for character in text]
    audio = np.concatenate([np.zeros(1600), *parts, np.zeros(1600)])
    audio = np.clip(audio + rng.normal(0, 0.01, len(audio)), -1, 1)
    path = directory / f"utterance-{index:04d}.wav"
    soundfile.write(path, audio, SAMPLE_RATE, subtype="PCM_16")
    seconds = len(audio) / SAMPLE_RATE
    return Utterance(
        key=f"tiny/{index:04d}",
        source=str(path),
        target=text,
        seconds=seconds,
        source_len=int(seconds * 100),
        target_len=len(text),
        set="tiny",
        language="zh",
    )


def _tone(character: str, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A tone of 120-180 ms whose pitch names the character."""
    pitch = 200.0 * 2 ** (CHARACTERS.index(character) / 4)
    time = np.arange(int(rng.uniform(0.12, 0.18) * SAMPLE_RATE)) / SAMPLE_RATE
    return (
        rng.uniform(0.1, 0.3) * np.hanning(len(time)) * np.sin(2 * np.pi * pitch * time + rng.uniform(0, 6))
    )


def _config(family: str) -> dict[str, Any]:
    sensevoice_encoder = {"encoder": "SenseVoiceEncoderSmall", "encoder_conf": {**_SIZES, "tp_blocks": 1}}
    match family:
        case "ctc":
            return {
                "model": "CTC",
                "model_conf": {"length_normalized_loss": True},
                **sensevoice_encoder,
                **_FRONTEND,
                **_CTC,
                **_CHARACTERS,
                "dataset": "AudioDataset",
                "dataset_conf": {**_LIST, **_LIMITS},
            }
        case "sensevoice":
            return {
                "model": "SenseVoiceSmall",
                "model_conf": {"length_normalized_loss": True, "sos": 1, "eos": 2, "ignore_id": -1},
                **sensevoice_encoder,
                **_FRONTEND,
                **_CTC,
                "tokenizer": "SentencepiecesTokenizer",
                "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
                "dataset": "SenseVoiceCTCDataset",
                "dataset_conf": {**_LIST, **_LIMITS},
            }
        case "paraformer":
            return {"model": "Paraformer", **_paraformer(), **_FRONTEND, **_CTC, **_CHARACTERS}
    raise ValueError(f"no tiny model of family {family}")


def _paraformer() -> dict[str, Any]:
    dropout = {"dropout_rate": 0.0, "positional_dropout_rate": 0.0}
    return {
        "model_conf": {
            "ctc_weight": 0.3,
            "lsm_weight": 0.0,
            "length_normalized_loss": True,
            "predictor_weight": 1.0,
            "predictor_bias": 0,
            "sampling_ratio": 0.4,
        },
        "encoder": "SANMEncoder",
        "encoder_conf": {
            **_SIZES,
            "positional_dropout_rate": 0.0,
            "input_layer": "pe",
            "pos_enc_class": "SinusoidalPositionEncoder",
            "normalize_before": True,
            "selfattention_layer_type": "sanm",
        },
        "decoder": "ParaformerSANMDecoder",
        "decoder_conf": {
            "attention_heads": 2,
            "linear_units": 64,
            "num_blocks": 2,
            **dropout,
            "self_attention_dropout_rate": 0.0,
            "src_attention_dropout_rate": 0.0,
            "att_layer_num": 2,
            "kernel_size": 11,
            "sanm_shfit": 0,
        },
        "predictor": "CifPredictorV2",
        "predictor_conf": {"idim": 32, "threshold": 1.0, "l_order": 1, "r_order": 1, "tail_threshold": 0.45},
        "dataset": "AudioDataset",
        "dataset_conf": {**_LIST, **_LIMITS},
    }


def _random_state(
    config: Mapping[str, Any], directory: Path, tokens: Mapping[str, str], seed: int
) -> dict[str, torch.Tensor]:
    paths = {key: str(directory / name) for key, name in tokens.items()}
    complete = {**config, "tokenizer_conf": {**config["tokenizer_conf"], **paths}}
    state = build(ModelDirectory(directory, complete), seed).module.state_dict()
    # Random output layers give nearly the same token everywhere: larger weights make transcripts differ.
    for name in ("ctc.ctc_lo.weight", "decoder.output_layer.weight"):
        if name in state:
            state[name] = state[name] * 8
    if (
        config["model"] == "SenseVoiceSmall"
    ):  # nearly all of its pieces are fillers: keep them out of transcripts
        used = [*range(4 + len(CHARACTERS)), *SENSEVOICE_TAGS]
        fillers = torch.full((SENSEVOICE_PIECES,), -30.0)
        fillers[used] = 0.0
        state["ctc.ctc_lo.bias"] = state["ctc.ctc_lo.bias"] + fillers
    return state


def _write_tokens(directory: Path) -> dict[str, str]:
    tokens = ["<blank>", "<s>", "</s>", *CHARACTERS, "<unk>"]
    (directory / "tokens.json").write_text(json.dumps(tokens, ensure_ascii=False), "utf-8")
    return {"token_list": "tokens.json"}


def _write_bpe(directory: Path) -> dict[str, str]:
    """A SentencePiece model of single characters with SenseVoice's tags at their ids; nothing is trained."""
    from sentencepiece import sentencepiece_model_pb2 as proto  # noqa: PLC0415  only SenseVoice needs it

    kind = proto.ModelProto.SentencePiece
    model = proto.ModelProto()
    pieces = [("<unk>", kind.UNKNOWN, 0), ("<s>", kind.CONTROL, 0), ("</s>", kind.CONTROL, 0)]
    pieces += [("\u2581", kind.NORMAL, -2), *((character, kind.NORMAL, -1) for character in CHARACTERS)]
    for index in range(len(pieces), SENSEVOICE_PIECES):
        tag = SENSEVOICE_TAGS.get(index)
        pieces.append((tag or f"<|x{index}|>", kind.USER_DEFINED if tag else kind.UNUSED, -100))
    for text, type_, score in pieces:
        model.pieces.add(piece=text, type=type_, score=score)
    model.trainer_spec.model_type = proto.TrainerSpec.UNIGRAM
    model.trainer_spec.vocab_size = SENSEVOICE_PIECES
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = False
    (directory / "bpe.model").write_bytes(model.SerializeToString())
    return {"bpemodel": "bpe.model"}


def _write_cmvn(path: Path, seed: int) -> None:
    """CMVN in Kaldi's nnet text, the only form that FunASR's front end reads."""
    rng = np.random.default_rng(seed)
    shift, scale = -8 + rng.normal(0, 0.1, INPUT_SIZE), 0.25 + rng.uniform(0, 0.02, INPUT_SIZE)
    lines = ["<Nnet>", f"<Splice> {INPUT_SIZE} {INPUT_SIZE}", "[ 0 ]"]
    for name, values in (("AddShift", shift), ("Rescale", scale)):
        lines.append(f"<{name}> {INPUT_SIZE} {INPUT_SIZE}")
        lines.append(f"<LearnRateCoef> 0 [ {' '.join(f'{value:.6f}' for value in values)} ]")
    path.write_text("\n".join([*lines, "</Nnet>", ""]))
