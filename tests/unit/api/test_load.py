from pathlib import Path

import pytest

from asrtune_api.errors import ExitCode, SpecInvalidError
from asrtune_api.finetune import ASRFinetune
from asrtune_api.load import load_finetune, parse_finetune
from asrtune_api.problems import keys_of
from asrtune_api.stages import PARAMS, PrepareParams, StageSpec, TrainParams

HEAD = """\
apiVersion: asrtune.dev/v1alpha1
kind: ASRFinetune
metadata: {name: demo}
spec:
  model: {uri: base}
  data:
    train: [{name: clean, uri: train.jsonl}]
    validation: [{name: dev, uri: dev.jsonl}]
  output: {uri: out}
"""
GOOD = (
    HEAD
    + """\
  recipe:
    preset: telephone-8k
    overrides:
      - name: train
        train: {epochs: 3}
"""
)
STAGES = (
    HEAD
    + """\
  stages:
    - {name: prepare, type: Prepare}
    - name: tune
      type: Train
      train: {epochs: 3}
"""
)


def failure(text: str | bytes, *sets: str) -> SpecInvalidError:
    with pytest.raises(SpecInvalidError) as caught:
        parse_finetune(text, list(sets))
    assert caught.value.exit_code == ExitCode.SPEC_INVALID
    return caught.value


def train_of(finetune: ASRFinetune) -> TrainParams:
    spec = finetune.spec
    (params,) = [s.train for s in spec.stages or (spec.recipe.overrides if spec.recipe else ()) if s.train]
    return params


def test_good_manifest() -> None:
    finetune = parse_finetune(GOOD)
    assert finetune.metadata.name == "demo"
    assert train_of(finetune).model_fields_set == {"epochs"}


def test_all_problems_come_at_once_in_the_order_of_lines() -> None:
    text = GOOD.replace("{epochs: 3}", '{epochs: ten, lerningRate: "1e-3", optimizer: adamw}').replace(
        "metadata: {name: demo}", "metadata: {name: Demo}"
    )
    at = "spec.recipe.overrides[train].train"
    head, name, epochs, rate, optimizer = str(failure(text)).splitlines()
    assert head == "finetune.yaml has 4 problems:"
    assert name.startswith('finetune.yaml:3: metadata.name: "Demo": use lower-case letters, digits')
    assert epochs == f'finetune.yaml:14: {at}.epochs: "ten" is not a whole number'
    assert rate.startswith(
        f'finetune.yaml:14: {at}.lerningRate: unknown field. Did you mean "learningRate"? The fields here are epochs, '
    )
    assert optimizer == (
        f'finetune.yaml:14: {at}.optimizer: "adamw" is not one of Adam, AdamW. Did you mean "AdamW"?'
    )


def test_missing_field_is_told_with_its_meaning_at_its_parents_line() -> None:
    text = GOOD.replace("{name: clean, uri: train.jsonl}", "{name: clean}")
    assert str(failure(text)) == (
        "finetune.yaml:7: spec.data.train[clean].uri: is missing (JSONL file: a path (relative to the manifest) or an "
        "s3 URI. Audio paths inside are relative to it)"
    )


@pytest.mark.parametrize("number", ["0.001", "1e-3", "1E-3", ".5", "1.", "5", "+1.0e-3"])
def test_bare_number_is_refused_where_the_api_wants_text(number: str) -> None:
    """kubectl reads YAML 1.2's numbers, PyYAML by itself takes 1e-3 for text: the laptop must not be laxer."""
    message = str(failure(GOOD.replace("epochs: 3", f"learningRate: {number}")))
    assert message.startswith(
        "finetune.yaml:14: spec.recipe.overrides[train].train.learningRate: must be a decimal"
    )
    assert "in quotes" in message


@pytest.mark.parametrize("text", ["0.001", "1e-3", "5"])
def test_quoted_number_is_read(text: str) -> None:
    finetune = parse_finetune(GOOD.replace("epochs: 3", f'learningRate: "{text}"'))
    assert train_of(finetune).learning_rate == float(text)


@pytest.mark.parametrize("text", ["1:30", "2026-01-01"])
def test_text_stays_text(text: str) -> None:
    finetune = parse_finetune(
        HEAD.replace("{uri: out}", f"{{uri: {text}}}") + "  recipe: {preset: telephone-8k}\n"
    )
    assert finetune.spec.output.uri == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            GOOD + "  seed: 1\n  seed: 2\n",
            'finetune.yaml:16: the key "seed" is there twice, first in line 15.',
        ),
        (
            GOOD.replace("{epochs: 3}", "{epochs: 3, epochs: 4}"),
            'finetune.yaml:14: the key "epochs" is there twice',
        ),
        (GOOD + "  on: 1\n", "finetune.yaml:15: the key 'on' is not text: write it in quotes."),
        (GOOD + "  - x\n", "finetune.yaml:15: is not YAML: expected <block end>"),
        ("a: [1, 2", "finetune.yaml:1: is not YAML"),
        ("a: !!python/object:os.system x", "finetune.yaml:1: is not YAML: could not determine a constructor"),
        ("a: &a [*a]", "is not YAML"),
        (b"\xff\xfe\xff", "finetune.yaml: is not UTF-8 text."),
        ("a: \x07", "finetune.yaml: is not YAML"),
        ("x" * 1_000_001, "finetune.yaml: is larger than 1000000 bytes."),
        ("", "finetune.yaml: holds no ASRFinetune; it is empty."),
        ("kind: Secret", "finetune.yaml: holds no ASRFinetune, but: Secret."),
        ("kind: ASRFineTune", "kind: ASRFinetune (spelt so)."),
        ("- a\n- b", "finetune.yaml: holds no ASRFinetune, but: no kind."),
        (
            GOOD + "---\n" + GOOD,
            "finetune.yaml: holds 2 of kind ASRFinetune (lines 2, 17). Leave one in the file.",
        ),
        (GOOD.replace("v1alpha1", "v2"), 'apiVersion: "asrtune.dev/v2" is not one of asrtune.dev/v1alpha1'),
        ("kind: ASRFinetune\nspec:", "finetune.yaml:1: metadata: is missing"),
    ],
)
def test_text_that_is_no_manifest(text: str | bytes, words: str) -> None:
    assert words in str(failure(text))


def test_aliases_cannot_make_a_small_file_huge() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 8)]
    assert "holds more than 100000 values" in str(failure("\n".join(lines)))


def test_anchors_and_merge_keys_are_read() -> None:
    text = GOOD.replace(
        "[{name: clean, uri: train.jsonl}]", "[&a {name: clean, uri: t}, {<<: *a, name: more}]"
    )
    sources = parse_finetune(text).spec.data.train
    assert [(source.name, source.uri) for source in sources] == [("clean", "t"), ("more", "t")]


def test_other_documents_are_left_alone() -> None:
    text = "kind: Secret\nmetadata: {name: s3}\n---\n" + GOOD.replace("epochs: 3", "epochs: x") + "---\n"
    assert str(failure(text)).startswith("finetune.yaml:17: spec.recipe")


def test_what_kubectl_get_prints_is_read() -> None:
    meta = 'metadata: {name: demo, uid: x, creationTimestamp: null, generation: 2, labels: {a: "b"}}'
    status = "status: {phase: Running, progress: {percent: 3}}\n"
    finetune = parse_finetune(GOOD.replace("metadata: {name: demo}", meta) + status)
    assert finetune.status is not None
    assert finetune.status.phase == "Running"


def test_file(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(GOOD)
    assert load_finetune(path).metadata.name == "demo"
    path.write_text(GOOD.replace("epochs: 3", "epochs: x"))
    with pytest.raises(SpecInvalidError, match=r"my\.yaml:14: "):
        load_finetune(str(path))


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SpecInvalidError, match="there is no such file"):
        load_finetune(tmp_path / "none.yaml")
    with pytest.raises(SpecInvalidError, match="is a directory"):
        load_finetune(tmp_path)


@pytest.mark.parametrize("text", [GOOD, STAGES])
@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ("learningRate=1e-3", "learning_rate", 0.001),
        ("learningRate=5", "learning_rate", 5.0),
        ('learningRate="2"', "learning_rate", 2.0),
        ("epochs=7", "epochs", 7),
        ("freeze=[encoder, ctc]", "freeze", ["encoder", "ctc"]),
        ("optimizer=Adam", "optimizer", "Adam"),
    ],
)
def test_set_of_a_stage(text: str, change: str, field: str, value: object) -> None:
    stage = "tune" if text is STAGES else "train"
    for path in (stage, f"stages.{stage}", f"spec.stages.{stage}"):  # as explain prints it
        params = train_of(parse_finetune(text, [f"{path}.{change}"]))
        assert getattr(params, field) == value
        assert params.model_fields_set == {"epochs", field}


def test_set_of_a_stage_by_its_place_in_the_manifest() -> None:
    assert train_of(parse_finetune(STAGES, ["stages.tune.train.epochs=7"])).epochs == 7


def test_set_of_a_stage_that_is_named_like_a_field_of_the_spec() -> None:
    text = STAGES.replace("name: tune", "name: output")
    finetune = parse_finetune(text, ["stages.output.epochs=7", "output.uri=elsewhere"])
    assert train_of(finetune).epochs == 7
    assert finetune.spec.output.uri == "elsewhere"


def test_no_parameter_has_the_name_of_a_field_of_stages() -> None:
    """Otherwise --set could not tell the two forms of a path apart."""
    parameters = {key for _, model in PARAMS.values() for key in keys_of(model)}
    assert parameters & set(keys_of(StageSpec)) == set()


def test_set_of_a_nested_parameter_keeps_the_others() -> None:
    params = train_of(parse_finetune(GOOD, ["train.batch.size=9", "train.batch.unit=Frames"]))
    assert params.batch.model_fields_set == {"size", "unit"}
    assert params.epochs == 3


def test_set_of_a_stage_without_override_adds_one() -> None:
    spec = parse_finetune(GOOD, ["prepare.minMilliseconds=50"]).spec
    assert spec.recipe is not None
    assert [stage.name for stage in spec.recipe.overrides] == ["train", "prepare"]
    assert spec.recipe.overrides[1].prepare == PrepareParams(min_milliseconds=50)


@pytest.mark.parametrize(
    "path",
    [
        "data.train.clean.weightPercent",
        "spec.data.train[clean].weightPercent",
        "data.train[clean].weightPercent",
    ],
)
def test_set_of_a_list_item_by_name(path: str) -> None:
    assert parse_finetune(GOOD, [f"{path}=30"]).spec.data.train[0].weight_percent == 30


def test_sets_apply_in_order_and_the_last_wins() -> None:
    spec = parse_finetune(GOOD, ["seed=1", "seed=2", "startAt=train", "output.uri=a=b", "metadata.name=x"])
    assert (spec.spec.seed, spec.spec.start_at, spec.spec.output.uri, spec.metadata.name) == (
        2,
        "train",
        "a=b",
        "x",
    )


def test_set_of_another_preset_brings_its_stages() -> None:
    preset = "recipe.preset=general-16k"
    assert "neither a field of the spec nor a stage" in str(failure(GOOD, preset, "simulate.copies=2"))


def test_empty_value_unsets() -> None:
    assert train_of(parse_finetune(GOOD, ["train.epochs="])).model_fields_set == set()
    assert parse_finetune(GOOD, ["startAt=train", "startAt=null"]).spec.start_at is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("train.learningRate", "is not PATH=VALUE"),
        ("=3", "is not PATH=VALUE"),
        (
            "trian.epochs=3",
            'neither a field of the spec nor a stage is called "trian". Did you mean "train"?',
        ),
        ("train.epoch=3", 'unknown field "epoch". Did you mean "epochs"?'),
        ("train.learning_rate=3", 'unknown field "learning_rate". Did you mean "learningRate"?'),
        ("train=3", "names a stage, not one of its parameters"),
        ("stages.train=3", "names a stage, not one of its parameters"),
        ("stages.train.epoch=3", 'unknown field "epoch". Did you mean "epochs"?'),
        ("data.train.clean=3", "names an item of train, not one of its fields"),
        ("data.train.claen.uri=x", 'train has no item "claen". Did you mean "clean"?'),
        ("output.uri.x=3", '"uri" has no fields. Set output.uri itself.'),
        ("output=x", "spec.output: must be a mapping"),
        ("train.learningRate=abc", '"abc" is not a decimal number'),
        ("train.epochs=1.5", "1.5 is not a whole number"),
        ("train.freeze=[a", "is not YAML"),
        ("train.freeze=encoder", 'must be a list, not "encoder"'),
        ("metadata.nam=x", 'unknown field "nam". Did you mean "name"?'),
    ],
)
def test_set_that_leads_nowhere(change: str, words: str) -> None:
    message = str(failure(GOOD, change))
    assert message.startswith(f"--set {change}")
    assert words in message
