"""Reading a manifest: everything that is wrong with it in one message, with lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from asrtune_api import API_VERSION
from asrtune_api.base import ApiModel
from asrtune_api.errors import SpecInvalidError
from asrtune_api.evaluation import ASREvaluation
from asrtune_api.finetune import ASRFinetune
from asrtune_api.problems import Loc, Problem, problems_of
from asrtune_api.sets import apply_set
from asrtune_api.suggest import did_you_mean
from asrtune_api.yaml_lines import Document, read_documents

Manifest = ASRFinetune | ASREvaluation
Kind = TypeVar("Kind", bound=ApiModel)


def load_manifest(path: Path | str, sets: Sequence[str] = ()) -> Manifest:
    """Read the ASRFinetune or ASREvaluation in a YAML file.

    Args:
        path: the file; it may hold other documents too (a Secret, say).
        sets: changes in the form of `asrtune_api.sets.apply_set`, applied in order.

    Raises:
        SpecInvalidError: there is no such file, or something in it is wrong: the message lists every problem with
            its line, field, and remedy.
    """
    return parse_manifest(_read(Path(path)), sets, name=str(path))


def load_finetune(path: Path | str, sets: Sequence[str] = ()) -> ASRFinetune:
    """Read the ASRFinetune in a YAML file; as `load_manifest`."""
    return parse_finetune(_read(Path(path)), sets, name=str(path))


def parse_manifest(text: str | bytes, sets: Sequence[str] = (), *, name: str = "manifest.yaml") -> Manifest:
    """Read the ASRFinetune or ASREvaluation in a YAML text, with the name that messages shall give."""
    document, kind = _pick(read_documents(text, name), (ASRFinetune, ASREvaluation), name)
    if kind is ASREvaluation:
        return _validated(ASREvaluation, document, sets, name)
    return _validated(ASRFinetune, document, sets, name)


def parse_finetune(
    text: str | bytes, sets: Sequence[str] = (), *, name: str = "finetune.yaml"
) -> ASRFinetune:
    """Read the ASRFinetune in a YAML text, with the name that messages shall give."""
    document, _ = _pick(read_documents(text, name), (ASRFinetune,), name)
    return _validated(ASRFinetune, document, sets, name)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise _invalid("there is no such file.", str(file), "Check the path.") from error
    except IsADirectoryError as error:
        raise _invalid("is a directory.", str(file), "Name the YAML file in it.") from error
    except OSError as error:
        raise _invalid(
            f"cannot be read: {error.strerror}.", str(file), "Check the path and its rights."
        ) from error


def _validated(kind: type[Kind], document: Document, sets: Sequence[str], name: str) -> Kind:
    changed = {apply_set(document.value, change, kind): change for change in sets}
    try:
        return kind.model_validate(document.value, by_alias=True, by_name=False)
    except ValidationError as error:
        problems = problems_of(error, kind, document.value)
        lines = sorted({_place(problem, document, changed, name) for problem in problems})
        texts = [f"{where}: {problem}" for _, where, problem in lines]
        message = texts[0] if len(texts) == 1 else f"{name} has {len(texts)} problems:\n" + "\n".join(texts)
        raise SpecInvalidError(message, reason="ManifestInvalid") from None


def _place(problem: Problem, document: Document, changed: dict[Loc, str], name: str) -> tuple[int, str, str]:
    for loc, change in reversed(changed.items()):
        if problem.loc[: len(loc)] == loc:
            return 0, f"--set {change}", str(problem)
    line = document.line(problem.loc)
    return line, f"{name}:{line}", str(problem)


def _pick(
    documents: Sequence[Document], models: Sequence[type[ApiModel]], name: str
) -> tuple[Document, type[ApiModel]]:
    there = [document for document in documents if document.value is not None]
    wanted = {model.__name__: model for model in models}
    found = [document for document in there if _kind(document) in wanted]
    if len(found) == 1:
        return found[0], wanted[_kind(found[0])]
    either = " or ".join(wanted)
    if found:
        lines = ", ".join(str(document.line(("kind",))) for document in found)
        raise _invalid(
            f"holds {len(found)} of kind {either} (lines {lines}).", name, "Leave one in the file."
        )
    kinds = [_kind(document) or "no kind" for document in there]
    close = [word for word in wanted if did_you_mean(word, kinds)]
    raise _invalid(
        f"holds no {either}" + (f", but: {', '.join(kinds)}." if kinds else "; it is empty."),
        name,
        f"Begin with apiVersion: {API_VERSION} and kind: {close[0] if close else either}"
        f"{' (spelt so)' if close else ''}.",
    )


def _kind(document: Document) -> str:
    value: Any = document.value
    return str(value.get("kind") or "") if isinstance(value, dict) else ""


def _invalid(message: str, where: str, remedy: str) -> SpecInvalidError:
    return SpecInvalidError(message, where=where, remedy=remedy, reason="ManifestInvalid")
