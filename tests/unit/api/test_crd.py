import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from asrtune_api import crd
from asrtune_api.crd_schema import object_schema
from asrtune_api.finetune import FinetuneSpec
from asrtune_api.runtime import RuntimeSpec
from asrtune_api.stages import PARAMS
from asrtune_api.status import FinetuneStatus
from tools.schemas import documents

Schema = dict[str, Any]


def schema_of(kind: crd.Kind) -> Schema:
    (version,) = crd.definition(kind)["spec"]["versions"]
    return version["schema"]["openAPIV3Schema"]


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from nodes(field, f"{path}.{name}")
    for inner in ("items", "additionalProperties"):
        if inner in schema:
            yield from nodes(schema[inner], f"{path}[]")


EVERY_NODE = [
    (path, node) for kind in crd.KINDS for path, node in nodes(schema_of(kind), kind.model.__name__)
]
ALLOWED = {
    "type", "description", "properties", "required", "items", "additionalProperties", "enum", "format", "pattern",
    "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "minProperties", "maxProperties", "default",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-validations",
}  # fmt: skip


def test_schema_is_structural() -> None:
    for path, node in EVERY_NODE:
        assert set(node) <= ALLOWED, path
        assert node["type"] in {"object", "array", "string", "integer", "boolean"}, (
            f"{path}: no floats, no unions"
        )
        assert not ("properties" in node and "additionalProperties" in node), path


def test_every_field_is_described() -> None:
    missing = [
        f"{path}.{name}"
        for path, node in EVERY_NODE
        for name, field in node.get("properties", {}).items()
        if not field.get("description", "").endswith(".") and name != "metadata"
    ]
    assert missing == []


def test_every_list_has_a_type_and_a_bound() -> None:
    for path, node in EVERY_NODE:
        if node["type"] == "array":
            assert node["x-kubernetes-list-type"] in {"map", "atomic"} or "[]" in path, path
            assert "maxItems" in node, f"{path}: CEL's cost would have no bound"
            for key in node.get("x-kubernetes-list-map-keys", ()):
                assert key in node["items"]["required"], path


def test_every_text_has_a_bound() -> None:
    for path, node in EVERY_NODE:
        if node["type"] == "string" and ".apiVersion" not in path and ".kind" not in path:
            assert {"maxLength", "enum"} & set(node) or node.get("format") == "date-time", path


def test_stage_parameters_have_no_stored_defaults() -> None:
    """The API server would write them in, and a preset could no longer tell a default from a wish."""
    for _, model in PARAMS.values():
        for path, node in nodes(object_schema(model)):
            assert "default" not in node, path


def test_default_of_a_stage_parameter_stands_in_its_description() -> None:
    fields = object_schema(PARAMS["Train"][1])["properties"]  # type: ignore[index]
    assert (
        fields["learningRate"]["description"]
        == "Peak learning rate. Default: 5e-5 unless the preset says otherwise."
    )
    assert "Default" not in fields["maxSteps"]["description"]


def test_defaults_are_stored_where_only_the_user_decides() -> None:
    spec = object_schema(FinetuneSpec)["properties"]
    assert spec["seed"]["default"] == 0
    assert spec["resources"]["default"] == {}
    assert spec["resources"]["properties"]["nodes"]["default"] == 1
    assert "default" not in spec["checkpoint"]


def test_status_has_no_stored_defaults() -> None:
    assert all(
        "default" not in node for _, node in nodes(object_schema(FinetuneStatus, stored_defaults=False))
    )


def test_columns_lead_to_fields() -> None:
    for kind in crd.KINDS:
        paths = {path.removeprefix(kind.model.__name__): node for path, node in nodes(schema_of(kind))}
        for _, type_, path, _ in kind.columns:
            # A condition's column picks an item of a list by its type.
            assert paths[re.sub(r"\[\?\(.*\)\]", "[]", path)]["type"] == type_


def test_finetune_answers_how_far_how_good_how_long() -> None:
    (version,) = crd.definition(crd.KINDS[0])["spec"]["versions"]
    shown = [c["name"] for c in version["additionalPrinterColumns"] if not c.get("priority")]
    assert shown == ["Phase", "Stage", "Percent", "CER", "ETA", "Failed of", "Age"]
    assert version["subresources"] == {"status": {}}


@pytest.mark.parametrize("model", [RuntimeSpec, *(model for _, model in PARAMS.values())])
@given(data=st.data())
@settings(max_examples=30)
def test_what_the_schema_allows_the_model_reads(model: type, data: st.DataObject) -> None:
    document = data.draw(documents(object_schema(model)))
    try:
        model.model_validate(document, by_alias=True, by_name=False)  # type: ignore[attr-defined]
    except ValidationError as error:
        assert {details["type"] for details in error.errors()} == {"value_error"}  # noqa: PT017 (rules over fields)


def test_files_in_the_repository_are_fresh() -> None:
    assert crd.main(["--check"]) == 0


def test_stale_file_is_named_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert crd.main(["--directory", str(tmp_path)]) == 0
    assert crd.main(["--check", "--directory", str(tmp_path)]) == 0
    victim = tmp_path / "asrtune.dev_asrruntimes.yaml"
    victim.write_text(victim.read_text().replace("Age", "Old"))
    capsys.readouterr()
    assert crd.main(["--check", "--directory", str(tmp_path)]) == 1
    assert (
        "asrtune.dev_asrruntimes.yaml is not what the models give: run `make generate`"
        in capsys.readouterr().err
    )
    assert crd.main(["--write", "--directory", str(tmp_path)]) == 0
    assert yaml.safe_load(victim.read_text()) == crd.definition(
        next(kind for kind in crd.KINDS if kind.plural == "asrruntimes")
    )
