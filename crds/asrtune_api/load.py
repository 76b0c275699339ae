"""Reading a manifest: everything that is wrong with it in one message, with lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from asrtune_api import API_VERSION
from asrtune_api.errors import SpecInvalidError
from asrtune_api.finetune import ASRFinetune
from asrtune_api.problems import Loc, Problem, problems_of
from asrtune_api.sets import apply_set
from asrtune_api.suggest import did_you_mean
from asrtune_api.yaml_lines import Document, read_documents

KIND = "ASRFinetune"


def load_finetune(path: Path | str, sets: Sequence[str] = ()) -> ASRFinetune:
    """Read the ASRFinetune in a YAML file.

    Args:
        path: the file; it may hold other documents too (a Secret, say).
        sets: changes in the form of `asrtune_api.sets.apply_set`, applied in order.

    Raises:
        SpecInvalidError: there is no such file, or something in it is wrong: the message lists every problem with
            its line, field, and remedy.
    """
    file = Path(path)
    try:
        text = file.read_bytes()
    except FileNotFoundError as error:
        raise _invalid("there is no such file.", str(path), "Check the path.") from error
    except IsADirectoryError as error:
        raise _invalid("is a directory.", str(path), "Name the YAML file in it.") from error
    except OSError as error:
        raise _invalid(
            f"cannot be read: {error.strerror}.", str(path), "Check the path and its rights."
        ) from error
    return parse_finetune(text, sets, name=str(path))


def parse_finetune(
    text: str | bytes, sets: Sequence[str] = (), *, name: str = "finetune.yaml"
) -> ASRFinetune:
    """Read the ASRFinetune in a YAML text; as `load_finetune`, with the name that messages shall give."""
    document = _pick(read_documents(text, name), name)
    changed = {apply_set(document.value, change): change for change in sets}
    try:
        return ASRFinetune.model_validate(document.value, by_alias=True, by_name=False)
    except ValidationError as error:
        problems = problems_of(error, ASRFinetune, document.value)
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


def _pick(documents: Sequence[Document], name: str) -> Document:
    there = [document for document in documents if document.value is not None]
    found = [document for document in there if _kind(document) == KIND]
    if len(found) == 1:
        return found[0]
    if found:
        lines = ", ".join(str(document.line(("kind",))) for document in found)
        raise _invalid(f"holds {len(found)} of kind {KIND} (lines {lines}).", name, "Leave one in the file.")
    kinds = [_kind(document) or "no kind" for document in there]
    close = did_you_mean(KIND, kinds)
    raise _invalid(
        f"holds no {KIND}" + (f", but: {', '.join(kinds)}." if kinds else "; it is empty."),
        name,
        f"Begin with apiVersion: {API_VERSION} and kind: {KIND}{' (spelt so)' if close else ''}.",
    )


def _kind(document: Document) -> str:
    value: Any = document.value
    return str(value.get("kind") or "") if isinstance(value, dict) else ""


def _invalid(message: str, where: str, remedy: str) -> SpecInvalidError:
    return SpecInvalidError(message, where=where, remedy=remedy, reason="ManifestInvalid")
