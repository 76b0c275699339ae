"""Names, labels and annotations of everything the operator makes."""

from __future__ import annotations

import hashlib
from typing import Final

GROUP: Final = "asrtune.dev"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGER: Final = "asrtune"
"""Value of `MANAGED_BY`, and the field manager of server-side apply."""
KIND: Final = f"{GROUP}/kind"
"""Kind of the run: ASRFinetune or ASREvaluation."""
RUN: Final = f"{GROUP}/run"
"""Name of the run; of a name longer than a label may be, what `label_value` makes of it."""
RUN_UID: Final = f"{GROUP}/run-uid"
"""Uid of the run: what the one watch of children selects and files them by."""
STAGE: Final = f"{GROUP}/stage"
"""The stage that a workload and its pods run; of several, the first."""
ATTEMPT: Final = f"{GROUP}/attempt"
"""Number of the attempt."""
RUN_SPEC: Final = f"{GROUP}/run-spec"
"""Name of the RunSpec's ConfigMap."""
GPUS: Final = f"{GROUP}/gpus"
"""Annotation of a pod: how many GPUs it asks for, whatever the resource that stands for one is called."""
QUEUE_NAME: Final = "kueue.x-k8s.io/queue-name"
"""Kueue's label of a workload."""
RETRY: Final = f"{GROUP}/retry"
"""Annotation of a run: a value that is not status.retried starts a failed run again."""

MAX_NAME: Final = 45
"""Longest name of a workload: controllers add up to 18 characters, and a pod's host name holds 63."""
MAX_LABEL: Final = 63


def shorten(text: str, length: int) -> str:
    """A name of at most `length` characters that no other name is shortened to, and that is a DNS label.

    It begins with a letter: Services, and whatever is given one by its controller, have such names only.
    """
    clean = _clean(text)
    return text if clean == text and len(text) <= length else _with_digest(clean, text, length)


def _clean(text: str) -> str:
    clean = text.replace(".", "-")
    return f"n{clean}" if clean[:1].isdigit() else clean


def _with_digest(clean: str, of: str, length: int) -> str:
    digest = hashlib.sha256(of.encode()).hexdigest()[:6]
    return f"{clean[: length - 7].rstrip('-')}-{digest}"


def label_value(name: str) -> str:
    """What stands for an object's name in a label."""
    return shorten(name, MAX_LABEL) if len(name) > MAX_LABEL else name


def workload_name(run: str, stage: str, attempt: int, *, evaluation: bool = False) -> str:
    """Name of the workload of an attempt: RUN-STAGE-ATTEMPT, with a digest before the attempt where it must be.

    That is where it would be too long or no DNS label, and where another run could come to the same name: stage b-c of
    run a and stage c of run a-b, or an evaluation and a finetune of one name.
    """
    end = f"-{attempt}"
    length = MAX_NAME - len(end)
    name = f"{run}-{stage}"
    if "-" in stage or evaluation:
        return _with_digest(_clean(name), f"{run}/{stage}/{evaluation}", length) + end
    return shorten(name, length) + end


def run_spec_name(run: str, digest: str, *, evaluation: bool = False) -> str:
    """Name of the ConfigMap with a RunSpec: RUN-HASH."""
    return f"{shorten(f'{run}-eval' if evaluation else run, MAX_LABEL - 11)}-{digest[:10]}"
