"""What S3 servers and their client say, told to people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore import exceptions as boto
from botocore.exceptions import ClientError
from s3transfer.exceptions import RetriesExceededError

from asrtune_api.errors import AsrtuneError, SpecInvalidError, StorageUnavailableError
from asrtune_trainer.storage.errors import ObjectMissingError

if TYPE_CHECKING:
    from asrtune_trainer.storage.uri import S3Location

_DENIED = frozenset(
    {
        "403",
        "AccessDenied",
        "AccountProblem",
        "AllAccessDisabled",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
    }
)
_WRONG_REGION = frozenset(
    {"301", "400", "AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException"}
)
_BUSY = frozenset({"RequestTimeout", "SlowDown", "Throttling", "ThrottlingException", "TooManyRequests"})
_CHANGED = frozenset({"412", "PreconditionFailed"})
_SERVER_ERROR = 500


class DamagedContentError(Exception):
    """The bytes that came are not those that were stored."""


FAILURES = (boto.BotoCoreError, ClientError, RetriesExceededError, DamagedContentError)
"""Everything that a call of the client may raise, besides OSError for local files."""


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed in a while."""
    match error:
        case RetriesExceededError():
            return True
        case ClientError():
            status, code = _status(error), _code(error)
            return status >= _SERVER_ERROR or code in _BUSY or code in _CHANGED
        case boto.SSLError():
            return False
        case (
            boto.ConnectionError()
            | boto.HTTPClientError()
            | boto.IncompleteReadError()
            | boto.FlexibleChecksumError()
            | DamagedContentError()
        ):
            return True
    return False


def is_damage(error: BaseException) -> bool:
    """Whether the content came, but not as it was stored."""
    return isinstance(error, DamagedContentError | boto.FlexibleChecksumError)


def is_missing(error: BaseException) -> bool:
    """Whether the server says that there is no such object or bucket (an answer to HEAD does not say which)."""
    return isinstance(error, ClientError) and _code(error) in {"404", "NoSuchKey", "NotFound", "NoSuchBucket"}


def is_missing_bucket(error: BaseException) -> bool:
    """Whether the server says that there is no such bucket."""
    return isinstance(error, ClientError) and _code(error) == "NoSuchBucket"


def translate(error: BaseException, location: S3Location, endpoint: str) -> AsrtuneError:
    """Our error for what the client raised about `location`.

    Args:
        error: one of `FAILURES`.
        location: what it is about.
        endpoint: the server's URL, for messages.
    """
    where = str(location)
    match error:
        case ClientError():
            return _answered(error, location, endpoint)
        case DamagedContentError() | boto.FlexibleChecksumError():
            return _unavailable(
                where,
                "the content does not match its checksum",
                "ChecksumMismatch",
                "Upload the file again; look at the server's disks and the network if it recurs.",
            )
        case boto.NoCredentialsError() | boto.PartialCredentialsError() | boto.CredentialRetrievalError():
            return _unavailable(
                where,
                f"there are no S3 credentials ({_last_line(error)})",
                "AccessDenied",
                "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a Secret that holds them.",
            )
        case boto.SSLError():
            return _unavailable(
                where,
                f"the certificate of {endpoint} is not trusted ({_last_line(error)})",
                "CertificateRejected",
                "Give the authority that signed it as CA bundle, or correct the endpoint.",
            )
        case boto.ParamValidationError() | boto.ProfileNotFound() | boto.InvalidConfigError():
            return SpecInvalidError(f"{_last_line(error)}.", where=where, remedy="Correct the S3 settings.")
    return _unavailable(
        where,
        f"{endpoint} does not answer ({_last_line(error)})",
        "EndpointUnreachable",
        "Check the endpoint's host and port, and whether the server runs and can be reached from here.",
    )


def _answered(error: ClientError, location: S3Location, endpoint: str) -> AsrtuneError:
    where, code, status = str(location), _code(error), _status(error)
    said = error.response.get("Error", {}).get("Message") or "no message"
    if code == "NoSuchBucket":
        return missing_bucket(location, endpoint)
    if is_missing(error):
        return ObjectMissingError(
            "there is no such object.", where=where, remedy="Check the key, or leave the line out."
        )
    if code in _WRONG_REGION:
        return SpecInvalidError(
            f"{endpoint} refuses the region ({code}: {said}).",
            where=where,
            remedy="Set the region that the bucket lies in.",
            reason="RegionInvalid",
        )
    return _unavailable(where, *_refusal(status, code, said, endpoint))


def _refusal(status: int, code: str, said: str, endpoint: str) -> tuple[str, str, str]:
    """What happened, our reason, the remedy."""
    if code in _DENIED:
        what = f"{endpoint} denied access ({code}: {said})"
        remedy = "Check the access key, the secret and the bucket's policy; without s3:ListBucket a missing object "
        return what, "AccessDenied", remedy + "is denied too."
    if code == "RequestTimeTooSkewed":
        return "this machine's clock is wrong", "AccessDenied", "Set the clock (NTP) and try again."
    if code in _CHANGED:
        return "it changed while it was read", "ContentChanged", "Try again."
    if status >= _SERVER_ERROR or code in _BUSY:
        return f"{endpoint} failed ({status} {code}: {said})", "ServerError", "Try again later."
    what = f"{endpoint} refused the request ({status} {code}: {said})"
    return what, "RequestRefused", "Look at the server's log."


def missing_bucket(location: S3Location, endpoint: str) -> SpecInvalidError:
    """There is no such bucket."""
    return SpecInvalidError(
        f"the bucket {location.bucket!r} does not exist at {endpoint}.",
        where=str(location),
        remedy="Create it, or correct the URI or the endpoint.",
        reason="BucketMissing",
    )


def _unavailable(where: str, what: str, reason: str, remedy: str) -> StorageUnavailableError:
    return StorageUnavailableError(f"{what}.", where=where, remedy=remedy, reason=reason)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: ClientError) -> int:
    metadata: Any = error.response.get("ResponseMetadata", {})
    return int(metadata.get("HTTPStatusCode", 0))


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].rstrip(".")
