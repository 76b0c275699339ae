"""Why the API server refuses what a plan wants made, for people."""

from __future__ import annotations

import re
from typing import Final

from asrtune_operator.kube.client import ApiError
from asrtune_operator.values.observed import Wait, WaitReason

_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404
_CONFLICT: Final = 409
_TOO_MANY: Final = 429


def refusal(error: ApiError) -> Wait | None:
    """What to wait for after a refusal; None where it is no refusal, but a failure that another try may mend."""
    text = error.message or str(error)
    if "exceeded quota" in text or "LimitRange" in text:
        return Wait(WaitReason.RESOURCE_QUOTA_EXCEEDED, f"the namespace's quota refuses it: {text}")
    if webhook := re.search(r'failed calling webhook "([^"]+)"', text):
        return Wait(
            WaitReason.BACKEND_UNAVAILABLE, f'the webhook "{webhook[1]}" does not answer, and has to: {text}'
        )
    if error.status == _NOT_FOUND:
        return Wait(
            WaitReason.BACKEND_UNAVAILABLE, f"the API server does not know what is to be made: {text}"
        )
    if error.status == _FORBIDDEN and re.search(r'User "[^"]+" cannot', text):
        return Wait(
            WaitReason.BACKEND_UNAVAILABLE, f"the operator lacks a right, its Role has to grant it: {text}"
        )
    if error.status in {_CONFLICT, _TOO_MANY} or not 400 <= error.status < 500:  # noqa: PLR2004
        return None
    return Wait(WaitReason.ADMISSION_REFUSED, f"the API server refuses it: {text}")
