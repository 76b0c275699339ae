"""Makes a bare container habitable for the libraries: caches and a home where this user may write."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Final

_CACHES: Final = {
    "XDG_CACHE_HOME": "",
    "XDG_CONFIG_HOME": "config",
    "MPLCONFIGDIR": "matplotlib",
    "NUMBA_CACHE_DIR": "numba",
    "TORCH_HOME": "torch",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
    "CUDA_CACHE_PATH": "cuda",
    "HF_HOME": "huggingface",
    "MODELSCOPE_CACHE": "modelscope",
}
"""What the libraries read at their import -> directory below the caches."""
_NOBODY: Final = "asrtune"


def settle(workdir: Path) -> None:
    """Give the libraries a home below `workdir` where the surroundings give them none.

    A pod may run as a user that no file knows, with no home and a file system that it cannot write. What is set
    already stays. Before the libraries are imported: they look only once.
    """
    caches = workdir / "cache" / "libraries"
    for name, directory in _CACHES.items():
        os.environ.setdefault(name, str(caches / directory))
    home = os.environ.get("HOME", "")
    if not home or not os.access(home, os.W_OK) or home == "/":
        path = workdir / "home"
        path.mkdir(parents=True, exist_ok=True)
        os.environ["HOME"] = str(path)
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ.setdefault("USER", _NOBODY)  # getpass.getuser(), which PyTorch calls, would fail
