"""What a person sees: in a terminal, in a pipe, narrow, without colour, in another encoding."""

import io
import math
import re
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from asrtune_api.scores import ErrorMetric, Score
from asrtune_trainer.telemetry.events import (
    Checkpointed,
    Event,
    Note,
    Resumed,
    Scored,
    StageFinished,
    StageSkipped,
    StageStarted,
    Validated,
    Waiting,
    WaitKind,
    Work,
)
from asrtune_trainer.telemetry.lines import duration, line_of, perplexity, printable
from asrtune_trainer.telemetry.progress import Planned, ProgressState
from asrtune_trainer.telemetry.summary import print_comparison, print_summary
from asrtune_trainer.telemetry.terminal import Live, Plain, Quiet, terminal_sink
from tools.events import anything, train_step

STATE = ProgressState.begin("demo", [Planned("train", 70, trains=True)], 0.0)
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
SCORED = Scored("evaluate", "telephone", "base", 80.0, 75.0, 85.0, 300)


def score(set_: str, model: str, cer: str, low: str, high: str, **more: object) -> Score:
    rates = {"set": set_, "model": model, "cer": cer, "low": low, "high": high, "utterances": 300}
    return Score.model_validate({**rates, "baseline": model == "base", **more})


BETTER = {"difference": "-40", "differenceLow": "-44", "differenceHigh": "-36"}
UNSURE = {"difference": "0.5", "differenceLow": "-0.1", "differenceHigh": "1.1"}
SCORES = [
    score("telephone", "base", "80", "75", "85"),
    score("telephone", "finetuned", "40", "36", "44", **BETTER),
    score("宽带", "base", "2", "1.5", "2.5", retention=True),
    score("宽带", "finetuned", "2.5", "2", "3", retention=True, **UNSURE),
]


def console(
    *, terminal: bool = False, width: int = 100, encoding: str = "utf-8"
) -> tuple[Console, io.BytesIO]:
    stream = io.BytesIO()
    file = io.TextIOWrapper(stream, encoding=encoding, errors="strict", write_through=True)
    shown = Console(
        file=file,
        force_terminal=terminal,
        width=width,
        color_system="standard" if terminal else None,
        _environ={},
    )
    return shown, stream


def text(stream: io.BytesIO, encoding: str = "utf-8") -> str:
    return stream.getvalue().decode(encoding)


def show(*events: Event, **options: object) -> str:
    shown, stream = console(**options)  # type: ignore[arg-type]
    sink = terminal_sink(shown, STATE)
    for event in events:
        sink.accept(event)
    sink.close()
    return text(stream, str(options.get("encoding", "utf-8")))


def test_plain_lines_of_a_run() -> None:
    out = show(
        StageSkipped("prepare", "Prepare", 1, 2),
        StageStarted("train", "Train", 2, 2),
        Waiting("train", WaitKind.RENDEZVOUS, "for 1 of 2 nodes: node 1"),
        Waiting("train", WaitKind.NOTHING),
        Resumed("train", 40, 400),
        train_step(),
        Validated("train", 2, 50, 1.2, 0.5, 12.345, 3.0, best=True),
        Checkpointed("train", 50, 0.01, 1.3),
        Note("train", "the learning rate is high", warning=True),
        StageFinished("train", "Train", 75.0, {"loss": 1.25}),
        SCORED,
        replace(SCORED, metric=ErrorMetric.WER, utterances=1),
    )
    assert out.splitlines() == [
        "[1/2] prepare: unchanged, skipped",
        "[2/2] train",
        "train: waits for 1 of 2 nodes: node 1",
        "train: goes on after step 40 of 400",
        (
            "train: rank 0, epoch 2/20, step 50/400, loss 1.2500, ppl 3.49, acc 0.7500, lr 5.000e-05, grad 2.5, "
            "batch 16.0, data 0.010, forward 0.100, backward 0.200, optim 0.020, step 0.400 s, 40.0 utt/s, "
            "160.0 audio s/s, mem 1.00, peak 2.00 GB, skipped 1"
        ),
        "train: validation at step 50, epoch 2: loss 1.2000, acc 0.5000, CER 12.35 %, 3.0 s, the best so far",
        "train: checkpoint of step 50: complete after 1.3 s, training waited 0.01 s",
        "train: warning: the learning rate is high",
        "train: done in 1 min 15 s (loss 1.25)",
        "evaluate: telephone, base: CER 80.00 % (75.00 to 85.00), 300 utterances",
        "evaluate: telephone, base: WER 80.00 % (75.00 to 85.00), 1 utterance",
    ]


def test_plain_log_line_leaves_out_what_was_not_measured() -> None:
    line = line_of(train_step(accuracy=None, skipped_steps=0, memory_used_bytes=None, loss=math.nan))
    assert "acc" not in line
    assert "skipped" not in line
    assert "mem peak 2.00 GB" in line
    assert "loss nan, ppl nan" in line


@given(anything, st.sampled_from(["utf-8", "ascii", "latin-1", "gbk"]), st.booleans(), st.integers(20, 120))
def test_no_event_and_no_encoding_fails(event: Event, encoding: str, terminal: bool, width: int) -> None:
    show(StageStarted(event.stage, "Train", 1, 1), event, terminal=terminal, width=width, encoding=encoding)


@given(st.lists(st.integers(0, 100_000), min_size=2, max_size=200).map(sorted))
def test_counts_give_a_bounded_number_of_lines(counts: list[int]) -> None:
    out = show(*(Work("prepare", "checked", done, 100_000) for done in counts))
    assert 1 <= len(out.splitlines()) <= 12


def test_counts_are_said_at_the_start_each_tenth_and_the_end() -> None:
    out = show(*(Work("prepare", "checked", done, 205) for done in range(206)))
    said = [int(line.split("checked ")[1].split("/")[0]) for line in out.splitlines()]
    assert said == [0, *range(21, 205, 21), 205]
    assert out.splitlines()[-1] == "prepare: checked 205/205 utterances (100 %)"


def test_a_slow_count_is_said_every_ten_seconds() -> None:
    shown, stream = console()
    clock = iter(range(0, 100, 4))
    plain = Plain(shown, STATE, clock=lambda: float(next(clock)))
    for done in range(10):
        plain.accept(Work("prepare", "checked", done, 1000))
    said = [int(line.split("checked ")[1].split("/")[0]) for line in text(stream).splitlines()]
    assert said == [0, 3, 6, 9]


def test_log_lines_say_how_long_the_training_takes_from_here() -> None:
    shown, stream = console()
    clock = iter([0.0, 60.0, 100.0])
    plain = Plain(shown, STATE, clock=lambda: next(clock))
    plain.accept(StageStarted("train", "Train", 1, 1))
    plain.accept(train_step(step=1, total_steps=41))  # the first took a minute, most of it for loading
    plain.accept(train_step(step=11, total_steps=41))
    _, first, second = text(stream).splitlines()
    assert "left" not in first
    assert second.endswith(", 2 min 00 s left")


def test_another_count_starts_anew() -> None:
    out = show(Work("a", "read", 0, 100), Work("a", "read", 1, 100), Work("a", "checked", 2, 100))
    assert out.splitlines() == ["a: read 0/100 utterances (0 %)", "a: checked 2/100 utterances (2 %)"]


def test_quiet_says_warnings_alone() -> None:
    shown, stream = console()
    sink = terminal_sink(shown, STATE, quiet=True)
    assert isinstance(sink, Quiet)
    for event in (train_step(), Note("a", "fine"), Note("a", "the disk is slow", warning=True)):
        sink.accept(event)
    assert text(stream) == "a: warning: the disk is slow\n"


def test_a_terminal_gets_a_bar_that_goes_away_and_lines_that_stay() -> None:
    out = show(
        StageStarted("train", "Train", 1, 1),
        train_step(step=100),
        StageFinished("train", "Train", 9.0),
        terminal=True,
    )
    assert "[1/1] train" in out
    assert "epoch 2/20 step 100/400" in out
    assert " 25%" in out
    assert out.count("\x1b[?25l") == out.count("\x1b[?25h") == 1
    last = ESCAPE.sub("", out.rsplit("\x1b[2K", 1)[1]).strip()
    assert last == "train: done in 9.0 s"


def test_the_bar_leaves_the_standard_streams_alone() -> None:
    before = sys.stdout, sys.stderr
    sink = terminal_sink(console(terminal=True)[0], STATE)
    sink.accept(StageStarted("train", "Train", 1, 1))
    during = sys.stdout, sys.stderr
    sink.close()
    assert during == before


def test_a_narrow_terminal_keeps_the_bar_on_one_line() -> None:
    out = show(StageStarted("train", "Train", 1, 1), Work("train", "x" * 90, 1, 2), terminal=True, width=30)
    assert "xxx" not in out
    for line in re.split(r"[\r\n]", ESCAPE.sub("", out)):
        assert len(line) <= 30


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    dumb = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})
    assert isinstance(terminal_sink(dumb, STATE), Plain)
    assert isinstance(terminal_sink(console(terminal=True)[0], STATE), Live)


def test_no_color_is_respected() -> None:
    stream = io.StringIO()
    shown = Console(file=stream, force_terminal=True, width=100, _environ={"NO_COLOR": "1", "TERM": "xterm"})
    terminal_sink(shown, STATE).accept(Note("a", "careful", warning=True))
    print_summary(shown, SCORES)
    assert re.search(r"\x1b\[[0-9;]*3[0-7]", stream.getvalue()) is None
    assert "careful" in stream.getvalue()


def test_nothing_in_a_file_name_steers_the_terminal() -> None:
    out = show(Note("prepare", "\x1b[2Jgone\r\x07\u202e.wav [bold]x[/bold]"), terminal=True)
    assert "\\x1b[2Jgone\\r\\x07\\u202e.wav [bold]x[/bold]" in ESCAPE.sub("", out)


def test_what_an_encoding_lacks_is_escaped() -> None:
    assert printable("电话 é\u3000", "latin-1") == "\\u7535\\u8bdd é\\u3000"
    assert printable("电话\u3000") == "电话\u3000"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_summary_in_a_pipe_is_plain_and_unfolded(encoding: str) -> None:
    shown, stream = console(width=40, encoding=encoding)
    print_summary(shown, SCORES, report="out/report/index.html")
    lines = text(stream, encoding).splitlines()
    telephone = next(line for line in lines if "telephone" in line)
    assert [cell.strip() for cell in telephone.split("|")[1:-1]] == [
        "telephone",
        "80.00 %",
        "40.00 %",
        "36.00 to 44.00",
        "-40.00",
    ]
    old = next(line for line in lines if "(old domain)" in line)
    assert printable("宽带", encoding) in old
    assert "+0.50" in old
    assert "base CER" in lines[1]
    assert lines[-1] == "report: out/report/index.html"
    assert len(lines) == 7
    assert text(stream, encoding).replace("宽带", "").isascii()


def test_summary_in_a_terminal_fits_its_width() -> None:
    shown, stream = console(terminal=True, width=44)
    print_summary(shown, SCORES)
    assert max(len(line) for line in ESCAPE.sub("", text(stream)).splitlines()) <= 44
    assert text(stream).count("\x1b[32m") == 1, "what is certain"
    assert "\x1b[31m" not in text(stream)


def test_summary_names_what_was_counted() -> None:
    shown, stream = console()
    print_summary(shown, [one.model_copy(update={"metric": ErrorMetric.WER}) for one in SCORES])
    assert "fine-tuned WER" in text(stream)
    assert "CER" not in text(stream)


def test_summary_of_a_base_alone_has_no_change() -> None:
    shown, stream = console()
    print_summary(shown, [SCORES[0]])
    assert "80.00 %" in text(stream)
    assert "telephone |  80.00 % |                |               |                |" in text(stream)


def test_models_of_an_evaluation_stand_one_below_the_other() -> None:
    rates = {"set": "calls", "low": "7.9", "high": "8.5", "utterances": 10}
    paired = {"difference": "-3.8", "differenceLow": "-4.6", "differenceHigh": "-2.9"}
    scores = [
        Score.model_validate({**rates, "model": "base", "cer": "12", "baseline": True}),
        Score.model_validate({**rates, "model": "tuned", "cer": "8.2", **paired}),
    ]
    shown, stream = console()
    print_comparison(shown, scores, report="r.html")
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in text(stream).splitlines() if "|" in line
    ]
    assert rows[-2] == ["calls", "base (baseline)", "12.00 %", "7.90 to 8.50", "", ""]
    assert rows[-1] == ["", "tuned", "8.20 %", "7.90 to 8.50", "-3.80", "-4.60 to -2.90"]
    assert text(stream).endswith("report: r.html\n")


def test_summary_without_scores_names_the_report() -> None:
    shown, stream = console()
    print_summary(shown, [], report="r.html")
    assert text(stream) == "report: r.html\n"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0123, "0.0123 s"),
        (9.96, "10.0 s"),
        (59.9, "59.9 s"),
        (60, "1 min 00 s"),
        (3599.6, "1 h 00 min"),
        (math.inf, "?"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_perplexity_of_a_diverged_loss_is_infinite() -> None:
    assert perplexity(1e6) == math.inf
    assert math.isnan(perplexity(math.nan))
    assert perplexity(0.0) == 1.0
