"""ASREvaluation: what is refused on a laptop, in the words that the API server has, too."""

import json
from pathlib import Path

import pytest
import yaml

from asrtune_api import crd
from asrtune_api.errors import SpecInvalidError
from asrtune_api.evaluation import ASREvaluation
from asrtune_api.finetune import ASRFinetune
from asrtune_api.load import load_manifest, parse_finetune, parse_manifest
from tools.evaluations import ACCEPTED, REFUSED, evaluation
from tools.manifests import Refused, manifest

EXAMPLE = Path(__file__).parents[3] / "examples" / "evaluation.yaml"


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_laptop_refuses(case: Refused) -> None:
    with pytest.raises(SpecInvalidError) as caught:
        parse_manifest(json.dumps(evaluation(case.changes)))
    assert case.words in str(caught.value)
    assert str(caught.value).count("\n") == 0, "one problem, one line"


@pytest.mark.parametrize("name", ACCEPTED)
def test_laptop_accepts(name: str) -> None:
    parse_manifest(json.dumps(evaluation(ACCEPTED[name])))


def test_the_kind_decides_what_is_read() -> None:
    assert isinstance(parse_manifest(json.dumps(evaluation())), ASREvaluation)
    assert isinstance(parse_manifest(json.dumps(manifest())), ASRFinetune)


def test_a_file_holds_one_of_both() -> None:
    both = yaml.safe_dump_all([manifest(), evaluation()])
    with pytest.raises(SpecInvalidError, match=r"holds 2 of kind ASRFinetune or ASREvaluation"):
        parse_manifest(both)
    assert parse_finetune(both).metadata.name == "demo"


def test_a_misspelt_kind_is_recognised() -> None:
    with pytest.raises(SpecInvalidError, match=r"kind: ASREvaluation \(spelt so\)"):
        parse_manifest("kind: ASREvalution\n")


@pytest.mark.parametrize(
    ("change", "value"),
    [("models.tuned.uri=other/model", "other/model"), ("output.uri=x", "x"), ("scoring.batchSeconds=5", 5)],
)
def test_one_field_is_set_on_the_command_line(change: str, value: object) -> None:
    found = parse_manifest(json.dumps(evaluation()), [change])
    assert isinstance(found, ASREvaluation)
    assert value in {found.spec.models[1].uri, found.spec.output.uri, found.spec.scoring.batch_seconds}


def test_an_unknown_field_on_the_command_line_is_refused() -> None:
    with pytest.raises(SpecInvalidError, match=r'"model".*Did you mean "models"'):
        parse_manifest(json.dumps(evaluation()), ["model.uri=x"])


def test_get_answers_which_is_best_and_whether_it_is_good_enough() -> None:
    kind = next(kind for kind in crd.KINDS if kind.model is ASREvaluation)
    (version,) = crd.definition(kind)["spec"]["versions"]
    shown = [c["name"] for c in version["additionalPrinterColumns"] if not c.get("priority")]
    assert shown == ["Phase", "Baseline", "Best", "CER", "Gate", "Failed of", "Age"]
    assert version["subresources"] == {"status": {}}


def test_the_example_is_short_and_right() -> None:
    assert isinstance(load_manifest(EXAMPLE), ASREvaluation)
    lines = [line for line in EXAMPLE.read_text().splitlines() if line and not line.startswith("#")]
    assert len(lines) <= 16
