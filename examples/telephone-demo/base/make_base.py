"""Train the demo's base model from random weights: clean wideband speech, written to this folder.

    OMP_NUM_THREADS=1 python examples/telephone-demo/base/make_base.py

It hears the 358 training recordings of ../data/train.jsonl and synthetic speech of espeak-ng (a Debian package)
that reads training texts and words of a public word list (Debian's wamerican-small). It never hears a
validation or test recording nor reads one of their texts. The augmentation is what a general model gets: speed,
level, tilt, a lower upper band limit, light noise; nothing of a telephone.

Settings were picked by the CER on clean validation recordings; test sets were not looked at.
"""

import argparse
import json
import random
import subprocess
import time
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import soundfile as sf
import soxr
import torch
from funasr import AutoModel
from funasr.frontends.wav_frontend import WavFrontend
from numpy.typing import NDArray
from omegaconf import OmegaConf
from scipy.signal import butter, sosfilt

Samples = NDArray[np.float32]
Example = tuple[Samples, str]

HERE = Path(__file__).parent
DATA = HERE.parent / "data"
WORDS = Path("/usr/share/dict/american-english-small")

SEED = 1
EPOCHS, COPIES, SYNTHETIC = 20, 4, 1500  # an epoch: every recording 4 times, 1500 synthetic utterances
POOL = 4500  # synthetic utterances made, of which each epoch draws
PEAK_LR, WARMUP, BATCH_FRAMES = 2e-3, 200, 6000  # lr; steps; 10 ms frames with padding
VOICES = ("en-us", "en-gb", "en-us+f2", "en-us+f3", "en-us+f4", "en-us+m3", "en-gb+f2", "en-gb-x-rp")

TOKENS = ["<blank>", "<s>", "</s>", "'", *"abcdefghijklmnopqrstuvwxyz", "<unk>"]
CONFIG: dict[str, Any] = {
    "model": "CTC",
    "model_conf": {"length_normalized_loss": True},
    "encoder": "SenseVoiceEncoderSmall",
    "encoder_conf": {
        "output_size": 96,
        "attention_heads": 2,
        "linear_units": 384,
        "num_blocks": 4,
        "tp_blocks": 1,
        "dropout_rate": 0.1,
        "attention_dropout_rate": 0.0,
        "kernel_size": 11,
        "sanm_shfit": 0,
    },
    "frontend": "WavFrontend",
    "frontend_conf": {
        "fs": 16000,
        "window": "hamming",
        "n_mels": 80,
        "frame_length": 25,
        "frame_shift": 10,
        "lfr_m": 7,
        "lfr_n": 3,  # English letters are short: 6 would leave CTC too few frames
        "dither": 0.0,
    },
    "ctc_conf": {"dropout_rate": 0.0, "ctc_type": "builtin", "reduce": True, "ignore_nan_grad": True},
    "tokenizer": "CharTokenizer",
    "tokenizer_conf": {"unk_symbol": "<unk>"},
}


def rows(name: str) -> list[dict[str, Any]]:
    """The lines of ../data/NAME.jsonl."""
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text("utf-8").splitlines()]


def read(name: str) -> list[Example]:
    """Recordings and transcripts of ../data/NAME.jsonl."""
    return [(sf.read(DATA / r["source"], dtype="float32")[0], r["target"]) for r in rows(name)]


def word_list() -> list[str]:
    """Plain lower-case English words of 2 to 10 letters."""
    words = WORDS.read_text("utf-8").split()
    return [w for w in words if w.isascii() and w.isalpha() and w.islower() and 2 <= len(w) <= 10]


def synthetic(train: list[Example], rng: random.Random) -> list[Example]:
    """espeak-ng reads: a third training texts, a third training words, a third words of the word list."""
    forbidden = {r["target"] for n in ("validation", "test_wideband") for r in rows(n)}
    texts = sorted({t for _, t in train})
    known, general, out = sorted({w for t in texts for w in t.split()}), word_list(), list[Example]()
    while len(out) < POOL:
        draw = rng.random()
        pick = known if draw < 2 / 3 else general
        text = rng.choice(texts) if draw < 1 / 3 else " ".join(rng.choices(pick, k=rng.randint(2, 6)))
        if text not in forbidden and len(text) < 90:
            out.append((speak(text, rng), text))
    return out


def speak(text: str, rng: random.Random) -> Samples:
    """16 kHz synthetic speech of a random espeak-ng voice, speed and pitch."""
    how = ["-v", rng.choice(VOICES), "-s", str(rng.randint(130, 180)), "-p", str(rng.randint(35, 75))]
    out = subprocess.run(["espeak-ng", *how, "--stdout", text], capture_output=True, check=True).stdout
    samples = np.frombuffer(out[44:], "<i2").astype(np.float32) / 32768  # a streamed 44-byte WAV header
    return soxr.resample(samples, 22050, 16000)


def augment(x: Samples, rng: random.Random) -> Samples:
    """Speed 0.87-1.15, tilt, a band limit of 3.6-7.5 kHz (35 %), noise at 10-40 dB (80 %), level."""
    x = soxr.resample(x, 16000, 16000 / rng.uniform(0.87, 1.15))
    x = np.append(x[:1], x[1:] + rng.uniform(-0.5, 0.5) * x[:-1])
    if rng.random() < 0.35:
        x = sosfilt(butter(6, rng.uniform(3600, 7500), fs=16000, output="sos"), x)
    if rng.random() < 0.8:
        noise = np.random.default_rng(rng.randrange(2**32)).normal(size=len(x))
        noise = sosfilt(butter(1, rng.uniform(400, 6000), fs=16000, output="sos"), noise)
        x = x + noise * np.sqrt((x**2).mean() / (noise**2).mean() / 10 ** (rng.uniform(10, 40) / 10))
    return (x / np.abs(x).max() * 10 ** (rng.uniform(-20, -1) / 20)).astype(np.float32)


def features(frontend: Any, x: Samples) -> torch.Tensor:
    """(frames, 560) stacked fbank, normalised when the front end has its cmvn."""
    feats, lengths = frontend(torch.from_numpy(x)[None], [len(x)])
    return feats[0, : lengths[0]]


def write_cmvn(examples: list[Example], path: Path) -> None:
    """Mean and inverse deviation of the features, as the Kaldi nnet text that WavFrontend reads."""
    conf = CONFIG["frontend_conf"]
    feats = torch.cat([features(WavFrontend(**conf), x) for x, _ in examples]).double()
    shift, scale, d = -feats.mean(0), 1 / feats.std(0), feats.shape[1]
    line = "<{0}> {1} {1}\n<LearnRateCoef> 0 [ {2} ]\n"
    parts = [("AddShift", shift), ("Rescale", scale)]
    body = "".join(line.format(n, d, " ".join(f"{v:.6f}" for v in t.tolist())) for n, t in parts)
    path.write_text(f"<Nnet>\n<Splice> {d} {d}\n[ 0 ]\n{body}</Nnet>\n")


def write_folder(out: Path, cmvn_from: list[Example]) -> None:
    """Everything of a FunASR model folder but the weights."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "tokens.json").write_text(json.dumps(TOKENS) + "\n")
    OmegaConf.save(OmegaConf.create(CONFIG), out / "config.yaml")
    metas = {
        "init_param": "model.pt",
        "config": "config.yaml",
        "tokenizer_conf": {"token_list": "tokens.json"},
        "frontend_conf": {"cmvn_file": "am.mvn"},
    }
    about = {"framework": "pytorch", "task": "auto-speech-recognition", "file_path_metas": metas}
    (out / "configuration.json").write_text(json.dumps(about, indent=2) + "\n")
    write_cmvn(cmvn_from, out / "am.mvn")


def build(out: Path) -> Any:
    """FunASR's AutoModel of the folder (random weights if it has none yet)."""
    conf: Any = OmegaConf.to_container(OmegaConf.load(out / "config.yaml"))
    conf["tokenizer_conf"]["token_list"] = str(out / "tokens.json")
    conf["frontend_conf"]["cmvn_file"] = str(out / "am.mvn")
    quiet = {"device": "cpu", "ncpu": 1, "disable_update": True, "disable_pbar": True, "log_level": "ERROR"}
    return AutoModel(**conf, **quiet)


def batches(examples: list[Example], auto: Any, rng: random.Random) -> list[dict[str, torch.Tensor]]:
    """Freshly augmented, sorted by length, packed up to BATCH_FRAMES, shuffled."""
    frontend, tokenizer = auto.kwargs["frontend"], auto.kwargs["tokenizer"]
    made = [(features(frontend, augment(x, rng)), torch.tensor(tokenizer.encode(t))) for x, t in examples]
    made.sort(key=lambda m: len(m[0]))
    packs: list[list[tuple[torch.Tensor, torch.Tensor]]] = [[]]
    for item in made:
        if (len(packs[-1]) + 1) * len(item[0]) * 3 > BATCH_FRAMES and packs[-1]:
            packs.append([])
        packs[-1].append(item)
    rng.shuffle(packs)
    return [collate(p) for p in packs]


def collate(pack: list[tuple[torch.Tensor, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Pad features with 0 and tokens with -1."""
    feats, tokens = [f for f, _ in pack], [t for _, t in pack]
    pad = torch.nn.utils.rnn.pad_sequence
    return {
        "speech": pad(feats, batch_first=True),
        "speech_lengths": torch.tensor([len(f) for f in feats]),
        "text": pad(tokens, batch_first=True, padding_value=-1),
        "text_lengths": torch.tensor([len(t) for t in tokens]),
    }


def cer(auto: Any, examples: list[Example]) -> float:
    """CER in percent, lower-case, without spaces (FunASR joins single letters and makes them capitals)."""
    auto.model.eval()
    out = [auto.generate(input=x)[0]["text"].replace(" ", "").lower() for x, _ in examples]
    return 100 * float(jiwer.cer([t.replace(" ", "") for _, t in examples], out))


def train(auto: Any, real: list[Example], made: list[Example], held_out: list[Example]) -> None:
    """AdamW, linear warm-up, cosine decay; the mean weights of the last three epochs stay in the model."""
    rng, model, kept = random.Random(SEED), auto.model, list[dict[str, torch.Tensor]]()
    optimiser = torch.optim.AdamW(model.parameters(), lr=PEAK_LR, weight_decay=0.01)
    step, start = 0, time.time()
    for epoch in range(EPOCHS):
        plan, losses = batches(real * COPIES + rng.sample(made, SYNTHETIC), auto, rng), []
        model.train()
        for i, batch in enumerate(plan):
            done = (epoch + i / len(plan)) / EPOCHS
            rate = PEAK_LR * min(1.0, (step + 1) / WARMUP) * max(0.01, 0.5 * (1 + np.cos(np.pi * done)))
            for group in optimiser.param_groups:
                group["lr"] = rate
            loss = model(**batch)[0]
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimiser.step()
            step += 1
            losses.append(loss.item())
        if epoch >= EPOCHS - 3:
            kept.append({k: v.clone() for k, v in model.state_dict().items()})
        score = f" validation CER {cer(auto, held_out):.2f} %" if epoch % 4 == 3 else ""
        print(f"epoch {epoch + 1} {time.time() - start:.0f} s loss {np.mean(losses):.3f}{score}", flush=True)
    mean = {k: torch.stack([s[k].double() for s in kept]).mean(0).to(v.dtype) for k, v in kept[0].items()}
    model.load_state_dict(mean)
    print(f"mean of the last 3 epochs: validation CER {cer(auto, held_out):.2f} %")


def main() -> None:
    """Train and write the folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=HERE)
    out = parser.parse_args().out
    torch.set_num_threads(1)
    rng, real, held_out = random.Random(SEED), read("train"), read("validation")
    made = synthetic(real, rng)
    write_folder(out, [(augment(x, rng), t) for x, t in real + rng.sample(made, len(real))])
    auto = build(out)
    torch.manual_seed(SEED)  # AutoModel seeds everything with 0 when it builds; dropout follows ours
    print(sum(p.numel() for p in auto.model.parameters()), "parameters")
    train(auto, real, made, held_out)
    weights = {k: v.half() if v.is_floating_point() else v for k, v in auto.model.state_dict().items()}
    torch.save({"state_dict": weights}, out / "model.pt")


if __name__ == "__main__":
    main()
