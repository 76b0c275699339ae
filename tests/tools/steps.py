"""How long the steps of a long test take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Steps:
    """Prints each step's seconds when it is over.

    Attributes:
        file: gets a line `name<TAB>seconds` for each, too; None: no file.
    """

    file: Path | None = None
    _begun: float = field(default_factory=time.monotonic)

    def begin(self) -> None:
        """What `since` counts from."""
        self._begun = time.monotonic()

    def since(self, name: str) -> None:
        """A step that began at `begin`, beside others, is over."""
        self._note(name, time.monotonic() - self._begun)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """The block is the step; one that fails is not noted."""
        begun = time.monotonic()
        yield
        self._note(name, time.monotonic() - begun)

    def _note(self, name: str, seconds: float) -> None:
        print(f"\n{name}: {seconds:.1f} s", flush=True)
        if self.file:
            with self.file.open("a") as file:
                file.write(f"{name}\t{seconds:.0f}\n")
