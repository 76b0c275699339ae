"""FunASR at arm's length: imports only what a model needs, and leaves the process as it was.

`import funasr` imports every model of the package (about 10 s), sets up logging, and its helpers reset the random
state. Here the package is entered without that walk, the files that register a wanted class are found by their
text, and everything process-wide is put back. What cannot be found this way falls back to the full import.
"""

from __future__ import annotations

import importlib
import io
import logging
import os
import pkgutil
import random
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

_REGISTRATION = re.compile(r"""tables\.register\(\s*["'](\w+)["']\s*,\s*["']([^"']+)["']""")
_log = logging.getLogger(__name__)


@contextmanager
def isolated() -> Iterator[None]:
    """Puts back what FunASR changes: logging, warnings, environment, torch's settings, all random states.

    What it prints goes to the debug log. Not for several threads at once: these things belong to the process.
    """
    root, printed = logging.getLogger(), io.StringIO()
    level, handlers, disabled = root.level, root.handlers[:], root.manager.disable
    environment = dict(os.environ)
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002  FunASR uses the old one
    cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = range(torch.cuda.device_count()) if cuda else ()
    try:
        with (
            torch.random.fork_rng(devices),
            torch.set_grad_enabled(torch.is_grad_enabled()),
            warnings.catch_warnings(action="ignore"),
            redirect_stdout(printed),
        ):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        torch.set_default_dtype(dtype)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        os.environ.clear()
        os.environ.update(environment)
        root.setLevel(level)
        root.handlers[:] = handlers
        logging.disable(disabled)
        if text := printed.getvalue().strip():
            _log.debug("FunASR printed: %s", text)


def funasr_module(name: str) -> ModuleType:
    """Imports one module of FunASR, such as ``funasr.utils.load_utils``, and what it imports itself."""
    with isolated():
        _enter_package()
        return importlib.import_module(name)


def component(table: str, name: str) -> Callable[..., Any] | None:
    """A class of FunASR's registry.

    Args:
        table: name of the registry's table, such as ``encoder_classes``.
        name: the registered name, such as ``SANMEncoder``.

    Returns:
        the class, or None where FunASR knows none of that name.
    """
    with isolated():
        _enter_package()
        files = _registrations(_package_root()).get((table, name), ())
        found = _import_files(files) and _registered(table, name)
        if not found:
            import_everything()
            found = _registered(table, name)
        return found or None


def import_everything() -> None:
    """The full import, as ``import funasr`` does it: the registry then holds every class that can be imported."""
    with isolated():
        _enter_package()
        importlib.import_module("funasr").import_submodules("funasr")


def _registered(table: str, name: str) -> Any:
    tables = importlib.import_module("funasr.register").tables
    return getattr(tables, table, {}).get(name)


def _import_files(files: Iterable[Path]) -> bool:
    """Imports the file that registers a class; False where that is not clear, or fails."""
    files = sorted(files)
    if len({path.read_bytes() for path in files}) != 1:
        return False  # none, or different classes of one name: FunASR's order of imports decides
    parts = files[0].relative_to(_package_root().parent).with_suffix("").parts
    try:
        importlib.import_module(".".join(parts).removesuffix(".__init__"))
    except Exception as error:  # noqa: BLE001  the full import, which takes every failure, decides
        _log.debug("importing %s failed: %r", files[0], error)
        return False
    return True


def _enter_package() -> None:
    """Imports the package `funasr` itself, the real one, without its walk through all submodules."""
    if "funasr" in sys.modules:
        return
    walk = pkgutil.walk_packages
    pkgutil.walk_packages = _no_modules
    try:
        importlib.import_module("funasr")
    finally:
        pkgutil.walk_packages = walk


def _no_modules(
    path: Iterable[Any] | None = None,  # noqa: ARG001  the signature is pkgutil's
    prefix: str = "",  # noqa: ARG001
    onerror: Callable[[str], object] | None = None,  # noqa: ARG001
) -> Iterator[pkgutil.ModuleInfo]:
    yield from ()


@cache
def _package_root() -> Path:
    spec = find_spec("funasr")
    if spec is None or spec.origin is None:
        raise ImportError("FunASR is not installed: install asrtune[trainer].")
    return Path(spec.origin).parent


@cache
def _registrations(root: Path) -> dict[tuple[str, str], tuple[Path, ...]]:
    """Which files register which (table, name): read from their text in under 0.1 s."""
    found: dict[tuple[str, str], set[Path]] = {}
    for path in root.rglob("*.py"):
        for table, name in _REGISTRATION.findall(path.read_text("utf-8")):
            found.setdefault((table, name), set()).add(path)
    return {key: tuple(paths) for key, paths in found.items()}
