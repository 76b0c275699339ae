"""Build the telephone demo's data from the Asterisk core sounds (English, recorded by Allison Smith).

Run once by a maintainer; what it writes is committed. It needs these Debian packages (version 1.6.1-1 for
the sounds): asterisk-core-sounds-en, -en-g722, -en-wav, ffmpeg, espeak-ng.

    python examples/telephone-demo/build_data.py

Four sets are written to data/, split by text, so that no recording and no text is in two parts:

- train.jsonl, validation.jsonl: the studio's 16 kHz prompts. The Simulate stage puts them on a line.
- test_wideband.jsonl: 16 kHz prompts (the old domain).
- test_telephone.jsonl: the studio's own 8 kHz version of the same test prompts (the new domain), sent over
  a telephone line made here by other means than the Simulate stage (see `call`), so that the demo
  measures transfer and not one simulator twice.
"""

import argparse
import gzip
import hashlib
import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

Samples = NDArray[np.float32]

HERE = Path(__file__).parent
SOUNDS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
TEXTS = Path("/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")

TEST_SHARE, VALIDATION_SHARE = 0.20, 0.09  # of the distinct texts
SHORTEST, LONGEST = 0.3, 12.0  # seconds; longer prompts are menus read from several takes
MATCH_SECONDS, MATCH_RATE, MATCH = 0.7, 4000, 0.95  # see shared_takes
OPUS_BITRATE = "28k"  # wideband speech is transparent to the ear at this rate

# The line of the telephone test set, chosen from how calls sound and never tuned on a result.
SNR_DB = (10.0, 20.0)
PEAK_DBFS = (-15.0, -3.0)
NOISES = ("pink", "hum", "babble")
CODECS = ("pcm_mulaw", "pcm_alaw", "gsm")
BABBLE = (  # people in the room speak other languages: no English word enters by the noise
    ("de", "Am Nachmittag fahren wir mit dem Zug in die Stadt und kaufen Brot, Obst und Blumen."),
    ("es", "Mañana por la mañana iremos al mercado y después comeremos con toda la familia."),
    ("it", "Questa sera andiamo al cinema, ma prima dobbiamo finire il lavoro in ufficio."),
    ("fr", "Le petit chat dort près de la fenêtre pendant que la pluie tombe sur le jardin."),
)

NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
SPELLING = {"fourtieth": "fortieth", "represenatives": "representatives", "witheld": "withheld"}
# Transcripts that say something else than the voice does: protocol names, sounds, spelled numbers.
UNTRUSTED = re.compile(r"[\[\](){}<>*#@]|\d\d|\w\.\w")


class Prompt(NamedTuple):
    """One studio recording.

    Attributes:
        name: Path below the sounds' folder, without its ending.
        text: Normalised transcript: a-z, apostrophe, single spaces.
    """

    name: str
    text: str

    @property
    def stem(self) -> str:
        """File name in data/audio: the same in every set, so that a leak can be seen."""
        return self.name.replace("/", "_")


def normalise(text: str) -> str:
    """Lower-case, digits as words, everything but letters and apostrophes to spaces."""
    text = re.sub(r"\d", lambda m: f" {NUMBERS[int(m.group())]} ", text.lower())
    words = re.sub(r"[^a-z']", " ", text).split()
    return " ".join(SPELLING.get(w, w) for w in words)


def read_prompts(texts: Path, sounds: Path) -> Iterator[Prompt]:
    """Prompts whose transcript can be trusted and that exist at 16 kHz and at 8 kHz, of fitting length."""
    with gzip.open(texts, "rt", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            match = re.match(r"^([^;:\s]+):\s*(.+)$", line.strip())
            if not match or UNTRUSTED.search(match[2]) or match[1].startswith("spy-"):
                continue
            name, narrow = match[1], sounds / f"{match[1]}.wav"
            if not narrow.exists() or not (sounds / f"{name}.g722").exists():
                continue
            if SHORTEST <= sf.info(narrow).duration <= LONGEST:
                yield Prompt(name, normalise(match[2]))


def split(prompts: list[Prompt]) -> dict[str, list[Prompt]]:
    """Train, validation and test by text: recordings of the same text go to the same part."""
    texts = sorted({p.text for p in prompts})
    random.Random(7).shuffle(texts)
    tests = int(TEST_SHARE * len(texts))
    validations = tests + int(VALIDATION_SHARE * len(texts))
    part = {
        t: "test" if i < tests else "validation" if i < validations else "train" for i, t in enumerate(texts)
    }
    out: dict[str, list[Prompt]] = {"train": [], "validation": [], "test": []}
    for prompt in prompts:
        out[part[prompt.text]].append(prompt)
    return out


def ffmpeg(*arguments: str, data: bytes = b"") -> bytes:
    """Run ffmpeg, bit-exact, with stdin and stdout as pipes."""
    command = ["ffmpeg", "-v", "error", "-y", *arguments]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def pcm(data: bytes) -> Samples:
    """Signed 16-bit little-endian bytes to floats in [-1, 1)."""
    return (np.frombuffer(data, "<i2") / 32768).astype(np.float32)


def raw(samples: Samples) -> bytes:
    """Floats to signed 16-bit little-endian bytes."""
    return (np.clip(samples, -1, 1) * 32767).round().astype("<i2").tobytes()


def wideband(prompt: Prompt, sounds: Path) -> Samples:
    """The studio's 16 kHz prompt, decoded from G.722."""
    return pcm(ffmpeg("-f", "g722", "-i", str(sounds / f"{prompt.name}.g722"), "-f", "s16le", "-"))


def handset(samples: Samples) -> Samples:
    """An 8 kHz telephone set's band: 300-3400 Hz and the presence peak of a carbon-style capsule."""
    band = "highpass=f=300,highpass=f=300,equalizer=f=2200:t=q:w=0.8:g=4,lowpass=f=3400,lowpass=f=3400"
    form = ("-f", "s16le", "-ar", "8000", "-ac", "1")
    return pcm(ffmpeg(*form, "-i", "-", "-af", band, *form, "-", data=raw(samples * 0.5)))


def background(kind: str, length: int, rng: random.Random) -> Samples:
    """`length` samples of room noise at 8 kHz: pink noise, mains hum with its harmonics, or babble."""
    seconds = length / 8000 + 0.1
    if kind == "babble":
        return sum((voice(lang, text, length, rng) for lang, text in BABBLE), np.zeros(length, np.float32))
    if kind == "pink":
        source = f"anoisesrc=color=pink:sample_rate=8000:amplitude=0.5:seed={rng.randrange(2**31)}:duration={seconds}"
    else:
        mains = rng.choice((50, 60))
        tones = "+".join(f"0.2*sin({2 * k}*PI*{mains}*t)/{k}" for k in (1, 3, 5, 6, 7, 9, 11, 15))
        source = f"aevalsrc='{tones}+0.05*(random(0)-0.5)':sample_rate=8000:duration={seconds}"
    return pcm(ffmpeg("-f", "lavfi", "-i", source, "-f", "s16le", "-"))[:length]


def voice(language: str, text: str, length: int, rng: random.Random) -> Samples:
    """`length` samples of an espeak-ng voice at 8 kHz that speaks without end, from a random moment on."""
    variant = f"{language}+{rng.choice(('f2', 'f4', 'm2', 'm3'))}"
    command = ["espeak-ng", "-v", variant, "-s", str(rng.randint(130, 180)), "--stdout", text]
    out = subprocess.run(command, capture_output=True, check=True).stdout
    samples = soxr.resample(pcm(out[44:]), 22050, 8000)  # espeak-ng streams a 44-byte WAV header
    return np.resize(np.roll(samples, rng.randrange(len(samples))), length).astype(np.float32)


def call(samples: Samples, rng: random.Random, target: Path) -> None:
    """Send a studio prompt (8 kHz) over a telephone line and write what arrives: a G.711 WAV file.

    The speaker stands in a noisy room: noise is added before the line, at 10-20 dB within the handset's
    band. A third of the calls comes from a GSM mobile (GSM 06.10 full rate, then mu-law), the rest is
    G.711 mu-law or A-law.
    """
    speech = handset(samples)
    noise = handset(background(rng.choice(NOISES), len(samples), rng))
    snr = rng.uniform(*SNR_DB)
    mixed = speech + noise * np.sqrt(np.mean(speech**2) / np.mean(noise**2) / 10 ** (snr / 10))
    mixed *= 10 ** (rng.uniform(*PEAK_DBFS) / 20) / np.abs(mixed).max()
    form, data, codec = ("-f", "s16le", "-ar", "8000", "-ac", "1"), raw(mixed), rng.choice(CODECS)
    if codec == "gsm":
        coded = ffmpeg(*form, "-i", "-", "-c:a", "libgsm", "-f", "gsm", "-", data=data)
        data = ffmpeg("-f", "gsm", "-i", "-", *form, "-", data=coded)
        codec = "pcm_mulaw"
    ffmpeg(
        *form,
        "-i",
        "-",
        "-c:a",
        codec,
        "-fflags",
        "+bitexact",
        "-flags:a",
        "+bitexact",
        str(target),
        data=data,
    )


def write_opus(samples: Samples, target: Path) -> None:
    """Write 16 kHz Ogg Opus, level unchanged."""
    form = ("-f", "s16le", "-ar", "16000", "-ac", "1")
    opus = ("-c:a", "libopus", "-b:a", OPUS_BITRATE, "-fflags", "+bitexact", "-flags:a", "+bitexact")
    ffmpeg(*form, "-i", "-", *opus, str(target), data=raw(samples))


def write_set(name: str, prompts: list[Prompt], sounds: Path, data: Path) -> None:
    """Write data/NAME.jsonl and data/audio/NAME/."""
    folder, rows, telephone = data / "audio" / name, [], name == "test_telephone"
    folder.mkdir(parents=True)
    rng = random.Random(11)
    for prompt in prompts:
        path = folder / f"{prompt.stem}.{'wav' if telephone else 'ogg'}"
        if telephone:
            call(sf.read(sounds / f"{prompt.name}.wav", dtype="float32")[0], rng, path)
        else:
            write_opus(wideband(prompt, sounds), path)
        frames = round(sf.info(path).duration * 100)  # fbank frames of 10 ms, as FunASR counts
        rows.append(
            {
                "key": f"{name}-{prompt.stem}",
                "source": path.relative_to(data).as_posix(),
                "source_len": frames,
                "target": prompt.text,
                "target_len": len(prompt.text),
                "speaker_id": "allison",
                "domain": "telephone" if telephone else "wideband",
            }
        )
    (data / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    minutes = sum(r["source_len"] for r in rows) / 6000
    size = sum(f.stat().st_size for f in folder.iterdir()) / 1e6
    print(f"{name:15} {len(rows):4} utterances {minutes:5.1f} min {size:5.2f} MB")


def read_set(data: Path, name: str) -> list[dict[str, str]]:
    """The lines of data/NAME.jsonl."""
    return [json.loads(line) for line in (data / f"{name}.jsonl").read_text("utf-8").splitlines()]


def leaks(data: Path) -> list[str]:
    """Recordings (by name and by content) and texts that two parts share; empty when the split is clean."""
    parts = {
        "train": read_set(data, "train"),
        "validation": read_set(data, "validation"),
        "test": read_set(data, "test_telephone") + read_set(data, "test_wideband"),
    }
    found, owner = [], dict[str, str]()
    for part, rows in parts.items():
        for row in rows:
            path = data / row["source"]
            marks = (
                f"text {row['target']!r}",
                f"recording {path.stem!r}",
                f"audio bytes {hashlib.sha256(path.read_bytes()).hexdigest()}",
            )
            found += [
                f"{m} is in {owner[m]} and in {part}" for m in marks if owner.setdefault(m, part) != part
            ]
    return found


def windows(samples: Samples) -> tuple[Samples, Samples]:
    """All windows of MATCH_SECONDS at MATCH_RATE, one after the other, and the norm at every offset."""
    size = int(MATCH_SECONDS * MATCH_RATE)
    power = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    norms = np.sqrt(np.maximum(power[size:] - power[:-size], 1e-3)).astype(np.float32)
    starts = [i for i in range(0, len(samples) - size + 1, size) if norms[i] > 0.01 * np.sqrt(size)]
    cut = (
        np.stack([samples[i : i + size] / norms[i] for i in starts])
        if starts
        else np.zeros((0, size), np.float32)
    )
    return cut.astype(np.float32), norms


def shared_takes(parts: dict[str, list[Prompt]], sounds: Path) -> list[str]:
    """Test recordings that have MATCH_SECONDS of sound in common with a recording of another part.

    Prompts could be cut from one take under two names; then names and texts differ, the sound does not.
    The measure is the peak of the normalised cross-correlation at MATCH_RATE.
    """

    def read(prompt: Prompt) -> Samples:
        samples, rate = sf.read(sounds / f"{prompt.name}.wav", dtype="float32")
        return soxr.resample(samples, rate, MATCH_RATE).astype(np.float32)

    cuts = [(p, windows(read(p))[0]) for p in parts["test"]]
    templates, names = np.concatenate([c for _, c in cuts]), [p.name for p, c in cuts for _ in c]
    found, size = [], templates.shape[1]
    for prompt in parts["train"] + parts["validation"]:
        samples = read(prompt)
        if len(samples) < size:
            continue
        length = 1 << (len(samples) + size).bit_length()
        spectra = np.conj(np.fft.rfft(templates, length)) * np.fft.rfft(samples, length)
        peaks = (np.fft.irfft(spectra, length)[:, : len(samples) - size + 1] / windows(samples)[1]).max(
            axis=1
        )
        found += [
            f"{names[i]} and {prompt.name} share a take ({peaks[i]:.3f})"
            for i in np.flatnonzero(peaks > MATCH)
        ]
    return found


def main() -> int:
    """Build data/ anew and check it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sounds", type=Path, default=SOUNDS)
    parser.add_argument("--texts", type=Path, default=TEXTS)
    parser.add_argument("--data", type=Path, default=HERE / "data")
    options = parser.parse_args()
    shutil.rmtree(options.data, ignore_errors=True)
    parts = split(list(read_prompts(options.texts, options.sounds)))
    sets = {
        "train": parts["train"],
        "validation": parts["validation"],
        "test_wideband": parts["test"],
        "test_telephone": parts["test"],
    }
    for name, prompts in sets.items():
        write_set(name, prompts, options.sounds, options.data)
    found = leaks(options.data) + shared_takes(parts, options.sounds)
    print("\n".join(found) or "no recording, take or text is in two parts")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
