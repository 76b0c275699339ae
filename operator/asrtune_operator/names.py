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
    clean = text.replace(".", "-")
    clean = f"n{clean}" if clean[:1].isdigit() else clean
    if clean == text and len(text) <= length:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:6]
    return f"{clean[: length - 7].rstrip('-')}-{digest}"


def label_value(name: str) -> str:
    """What stands for an object's name in a label."""
    return shorten(name, MAX_LABEL) if len(name) > MAX_LABEL else name


def workload_name(run: str, stage: str, attempt: int, *, evaluation: bool = False) -> str:
    """Name of the workload of an attempt: RUN-STAGE-ATTEMPT, shortened where it must be.

    A finetune and an evaluation may share a name; the latter's workloads say `eval` after it.
    """
    end = f"-{attempt}"
    return shorten(f"{run}-eval-{stage}" if evaluation else f"{run}-{stage}", MAX_NAME - len(end)) + end


def run_spec_name(run: str, digest: str, *, evaluation: bool = False) -> str:
    """Name of the ConfigMap with a RunSpec: RUN-HASH."""
    return f"{shorten(f'{run}-eval' if evaluation else run, MAX_LABEL - 11)}-{digest[:10]}"
