"""The dashboards that come with the chart, and their queries as Grafana asks them for a reader."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cluster.client import Json

BOARDS: Final[Mapping[str, Json]] = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parents[2] / "charts/asrtune/dashboards").glob("*.json"))
}
LASTS: Final = "Stays when the pods are gone."
"""How a panel's description ends whose figures the operator keeps."""


def panels(board: str) -> list[dict[str, Any]]:
    """Of a dashboard, without its headings."""
    return [one for one in BOARDS[board]["panels"] if one["type"] != "row"]


def chosen(namespace: str, run: str, seconds: float) -> dict[str, str]:
    """What a reader has chosen who looks at a finetune over so long a time."""
    return {
        "namespace": namespace,
        "kind": "ASRFinetune",
        "run": run,
        "job": ".*",
        "__rate_interval": "10s",
        "__interval": "5s",
        "__range": f"{round(seconds)}s",
    }


def filled(text: str, variables: Mapping[str, str]) -> str:
    """A query with what a reader has chosen in the place of its variables."""
    return re.sub(r"\$(\w+)", lambda name: variables[name[1]], text)
