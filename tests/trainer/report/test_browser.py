"""A real browser opens the page without a word of complaint."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from asrtune_trainer.report.audio import data_uri
from asrtune_trainer.report.build import build_report
from asrtune_trainer.report.model import Clip, SetExamples
from asrtune_trainer.scoring.results import FINETUNED
from tools.report import example, report_data

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
EVIL = "<script>document.title = 'hacked'</script>"


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_no_errors_and_no_scripts(tmp_path: Path) -> None:
    clip = Clip(data_uri(np.zeros(16000, dtype=np.float32)))
    worst = SetExamples("near", FINETUNED, [example("near/1", EVIL, clip, base=EVIL, finetuned="x")])
    (tmp_path / "index.html").write_text(build_report(report_data(examples=[worst])), encoding="utf-8")
    command = [
        str(CHROMIUM),
        "--headless",
        "--disable-gpu",
        "--disable-background-networking",
        "--enable-logging=stderr",
        f"--user-data-dir={tmp_path / 'profile'}",
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
        "--dump-dom",
        (tmp_path / "index.html").as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert re.search(r"<title>demo: fine-tuning report</title>", done.stdout)
    assert "Where it still errs" in done.stdout
