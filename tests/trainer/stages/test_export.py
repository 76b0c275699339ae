"""The clean process in which stock FunASR proves an exported model."""

import os
from pathlib import Path

import pytest

from asrtune_trainer.stages import export


def test_an_interrupt_from_the_terminal_does_not_reach_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its death would be told as a model that stock FunASR cannot use."""
    monkeypatch.setattr(export, "_PROOF", "import json, os; print(json.dumps([str(os.getpgrp())]))")
    assert export.stock_transcripts(tmp_path, []) != [str(os.getpgrp())]
