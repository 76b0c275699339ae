"""Write into charts/ what has its source elsewhere: `python hack/charts.py [--check]`.

Helm packs a chart's own directory alone, so CRDs, rights and the schema of settings are copies. `make generate` writes
them, `make generated` compares.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic.alias_generators import to_camel

from asrtune_api.crd_schema import object_schema
from asrtune_api.runtime import RuntimeSpec
from asrtune_operator.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
CHARTS = ROOT / "charts"
SCHEMA = CHARTS / "asrtune" / "values.schema.json"
ALERTS = CHARTS / "asrtune" / "files" / "alerts.yaml"
ELSEWHERE = {
    "namespaces",
    "image",
    "kubeconfig",
    "context",
    "lease",
    "lease_name",
    "lease_namespace",
    "lease_holder",
}
"""Settings that values of another name decide, or the release, or that make no sense in a pod."""


def copies() -> Iterator[tuple[Path, Path]]:
    """Source and copy."""
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        yield path, CHARTS / "asrtune-crds" / "files" / path.name
    for path in sorted((ROOT / "operator" / "rbac").glob("*.yaml")):
        yield path, CHARTS / "asrtune" / "files" / "rbac" / path.name


def schema() -> str:
    """values.schema.json with what the models say of a runtime and of the operator's settings, and with the alerts."""
    document = json.loads(SCHEMA.read_text(encoding="utf-8"))
    alerts = re.findall(r"^ +- alert: (\w+)$", ALERTS.read_text(encoding="utf-8"), re.MULTILINE)
    document["$defs"]["alert"] = {"enum": alerts, "description": "An alert of files/alerts.yaml."}
    document["$defs"]["runtime"] = strict(object_schema(RuntimeSpec, stored_defaults=False))
    document["$defs"]["settings"] = settings()
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def strict(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A structural schema as JSON Schema that refuses unknown fields, as the API server does with strict validation."""
    kept = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes-")}
    if "properties" in kept:
        kept["properties"] = {name: strict(one) for name, one in kept["properties"].items()}
        kept["additionalProperties"] = False
    elif isinstance(kept.get("additionalProperties"), dict):
        kept["additionalProperties"] = strict(kept["additionalProperties"])
    if "items" in kept:
        kept["items"] = strict(kept["items"])
    return kept


def settings() -> dict[str, Any]:
    """The operator's settings that a chart's user decides, by their names in values.yaml."""
    known = Settings.model_json_schema()["properties"]
    kept = {name: one for name, one in known.items() if name not in ELSEWHERE}
    fields = {
        to_camel(name): {key: value for key, value in one.items() if key not in {"title", "default"}}
        | {"description": " ".join(one["description"].split())}
        for name, one in kept.items()
    }
    return {
        "type": "object",
        "description": "Options of `asrtune-operator run`.",
        "properties": fields,
        "additionalProperties": False,
    }


def main() -> int:
    """Write the files, or with --check only compare; the exit status is 1 when one is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when a file is not what its source gives")
    check = parser.parse_args().check
    wanted = {copy: source.read_text(encoding="utf-8") for source, copy in copies()} | {SCHEMA: schema()}
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text("utf-8") != text]
    for path in stale:
        name = path.relative_to(ROOT)
        if check:
            sys.stderr.write(f"{name} is not what its source gives: run `make generate`.\n")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
            sys.stdout.write(f"wrote {name}\n")
    return 1 if stale and check else 0


if __name__ == "__main__":
    sys.exit(main())
