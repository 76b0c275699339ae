import json

import pytest

from asrtune_api.errors import SpecInvalidError
from asrtune_api.load import parse_finetune
from tools.manifests import ACCEPTED, REFUSED, Refused, manifest


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_laptop_refuses(case: Refused) -> None:
    with pytest.raises(SpecInvalidError) as caught:
        parse_finetune(json.dumps(manifest(case.changes)))
    assert case.words in str(caught.value)
    assert str(caught.value).count("\n") == 0, "one problem, one line"


@pytest.mark.parametrize("name", ACCEPTED)
def test_laptop_accepts(name: str) -> None:
    parse_finetune(json.dumps(manifest(ACCEPTED[name])))
