"""Write the dashboards, or check that they are what this code gives."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from dashboards import fleet, one_run, operator_health
from dashboards.render import render

TARGET: Final = Path(__file__).parents[2] / "charts/asrtune/dashboards"
BOARDS: Final = {"fleet": fleet.BOARD, "run": one_run.BOARD, "operator": operator_health.BOARD}


def main() -> int:
    """Returns the exit code: 1 where a file differs and only a check was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail where a file differs")
    check = parser.parse_args().check
    wanted = {TARGET / f"{name}.json": render(board) for name, board in BOARDS.items()}
    there = {path: path.read_text("utf-8") for path in TARGET.glob("*.json")}
    stale = sorted(path.name for path in {*wanted, *there} if wanted.get(path) != there.get(path))
    if check:
        if stale:
            print(f"{TARGET}: run `make generate`: {', '.join(stale)}", file=sys.stderr)
        return bool(stale)
    TARGET.mkdir(parents=True, exist_ok=True)
    for path in there.keys() - wanted.keys():
        path.unlink()
    for path, text in wanted.items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
