"""FunASR is imported in part, falls back to the whole, and leaves the process as it was."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from asrtune_trainer.models.funasr_import import component, isolated

_SCRIPT = """
import logging, os, random, sys, warnings
from pathlib import Path
import numpy as np
import torch
from asrtune_api.errors import SpecInvalidError
from asrtune_trainer.models.build import build
from asrtune_trainer.models.directory import ModelDirectory, read_directory
from asrtune_trainer.models.funasr_import import component
from asrtune_trainer.models.load import load_model

def process():
    root = logging.getLogger()
    return (root.level, list(root.handlers), root.manager.disable, list(warnings.filters), dict(os.environ),
            torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(), random.getstate(),
            str(np.random.get_state()), torch.get_rng_state().tolist(), sys.stdout)

def loaded():
    return sum(name.startswith("funasr.") for name in sys.modules)

before = process()
for directory in sys.argv[1:]:
    load_model(Path(directory), device=torch.device("cpu"), seed=5)
assert process() == before, [pair for pair in zip(process(), before) if pair[0] != pair[1]]
assert loaded() < 100, loaded()
assert not {"sklearn", "transformers"} & sys.modules.keys()

# Two files register this name with different classes: only FunASR's own order of imports can say which.
assert component("decoder_classes", "TransformerDecoder").__module__ == "funasr.models.sa_asr.transformer_decoder"
assert loaded() > 300, loaded()
source = read_directory(Path(sys.argv[1]))
try:
    build(ModelDirectory(source.path, {**source.config, "encoder": "NoSuchEncoder"}), 0)
except SpecInvalidError as error:
    assert "FunASR knows no encoder 'NoSuchEncoder'" in error.message, error
else:
    raise AssertionError("built with an encoder that is not there")
assert process() == before, [pair for pair in zip(process(), before) if pair[0] != pair[1]]
from funasr import AutoModel
AutoModel(model=sys.argv[1], disable_update=True, device="cpu")
"""


def test_a_process_stays_as_it_was(directories: dict[str, Path], tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    run = subprocess.run(
        [sys.executable, script, *directories.values()],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]


def test_isolation_puts_everything_back() -> None:
    root = logging.getLogger()
    level, handlers, filters, threads = (
        root.level,
        list(root.handlers),
        list(warnings.filters),
        torch.get_num_threads(),
    )

    def fail() -> None:
        root.setLevel(logging.CRITICAL)
        root.addHandler(logging.NullHandler())
        logging.disable(logging.ERROR)
        warnings.simplefilter("error")
        torch.set_num_threads(threads + 1)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        os.environ["LEFT_BY_FUNASR"] = "1"
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"), isolated():
        fail()
    assert (root.level, list(root.handlers), root.manager.disable) == (level, handlers, logging.NOTSET)
    assert list(warnings.filters) == filters
    assert torch.get_num_threads() == threads
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert "LEFT_BY_FUNASR" not in os.environ


def test_prints_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with isolated():
        print("error, init_param does not exist!")
    assert capsys.readouterr().out == ""


def test_components_by_name() -> None:
    found = component("encoder_classes", "SenseVoiceEncoderSmall")
    assert found is not None
    assert found.__module__ == "funasr.models.sense_voice.model"
