"""Pictures of the dashboards for the docs, from the series of a real run that a real Prometheus watched (3 min).

.venv/bin/python hack/dashboard_pictures.py     # needs what `make cluster` builds
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from dashboards.draw import draw  # noqa: E402

from tools.boards import filled  # noqa: E402
from tools.prometheus import Series  # noqa: E402
from tools.watched import Watched, watched  # noqa: E402

EPOCHS: Final = 40


@dataclass(frozen=True)
class Answers:
    """Of the Prometheus that watched the run."""

    seen: Watched

    @property
    def begun(self) -> float:
        """Where the pictures' time is 0; unix seconds."""
        return self.seen.begun

    def course(self, expression: str) -> Sequence[Series]:
        """Over the whole time."""
        asked = filled(expression, self.seen.variables)
        return self.seen.prometheus.between(asked, self.seen.begun, self.seen.ended)

    def last(self, expression: str) -> Sequence[Series]:
        """At its end."""
        return self.seen.prometheus.at(filled(expression, self.seen.variables), self.seen.ended)


def main() -> None:
    """Draw all boards."""
    (ROOT / "docs/images").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory, watched(Path(directory), epochs=EPOCHS) as seen:
        for path in sorted((ROOT / "charts/asrtune/dashboards").glob("*.json")):
            target = ROOT / f"docs/images/dashboard-{path.stem}.png"
            draw(json.loads(path.read_text("utf-8")), Answers(seen), target)
            print(target.relative_to(ROOT), f"{target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
