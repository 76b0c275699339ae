"""What the operating system and S3 servers say, told to people."""

import errno
import os
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ParamValidationError

from asrtune_api.errors import AsrtuneError, ExitCode
from asrtune_trainer.storage.errors import local_errors
from asrtune_trainer.storage.s3_errors import is_transient, translate
from asrtune_trainer.storage.uri import S3Location


@pytest.mark.parametrize(
    ("code", "exit_code", "reason"),
    [
        (errno.ENOENT, ExitCode.DATA_INVALID, "ObjectMissing"),
        (errno.ENOTDIR, ExitCode.SPEC_INVALID, "PathInvalid"),
        (errno.ENAMETOOLONG, ExitCode.SPEC_INVALID, "PathInvalid"),
        (errno.EACCES, ExitCode.STORAGE_UNAVAILABLE, "AccessDenied"),
        (errno.EROFS, ExitCode.STORAGE_UNAVAILABLE, "AccessDenied"),
        (errno.ENOSPC, ExitCode.STORAGE_UNAVAILABLE, "DiskFull"),
        (errno.EDQUOT, ExitCode.STORAGE_UNAVAILABLE, "DiskFull"),
        (errno.EIO, ExitCode.STORAGE_UNAVAILABLE, "DiskFailed"),
    ],
)
def test_operating_system(code: int, exit_code: ExitCode, reason: str) -> None:
    with pytest.raises(AsrtuneError) as caught, local_errors(Path("/disk/file")):
        raise OSError(code, os.strerror(code))
    assert (caught.value.exit_code, caught.value.reason) == (exit_code, reason)
    assert caught.value.where == "/disk/file"
    assert caught.value.remedy


def answer(status: int, code: str) -> ClientError:
    response = {"Error": {"Code": code, "Message": "said"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "GetObject")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "transient", "exit_code", "reason"),
    [
        (answer(404, "NoSuchBucket"), False, ExitCode.SPEC_INVALID, "BucketMissing"),
        (answer(404, "NoSuchKey"), False, ExitCode.DATA_INVALID, "ObjectMissing"),
        (answer(403, "AccessDenied"), False, ExitCode.STORAGE_UNAVAILABLE, "AccessDenied"),
        (answer(403, "ExpiredToken"), False, ExitCode.STORAGE_UNAVAILABLE, "AccessDenied"),
        (answer(403, "RequestTimeTooSkewed"), False, ExitCode.STORAGE_UNAVAILABLE, "AccessDenied"),
        (answer(301, "PermanentRedirect"), False, ExitCode.SPEC_INVALID, "RegionInvalid"),
        (answer(412, "PreconditionFailed"), True, ExitCode.STORAGE_UNAVAILABLE, "ContentChanged"),
        (answer(503, "SlowDown"), True, ExitCode.STORAGE_UNAVAILABLE, "ServerError"),
        (answer(500, "InternalError"), True, ExitCode.STORAGE_UNAVAILABLE, "ServerError"),
        (answer(409, "Conflict"), False, ExitCode.STORAGE_UNAVAILABLE, "RequestRefused"),
        (NoCredentialsError(), False, ExitCode.STORAGE_UNAVAILABLE, "AccessDenied"),
        (
            EndpointConnectionError(endpoint_url="u"),
            True,
            ExitCode.STORAGE_UNAVAILABLE,
            "EndpointUnreachable",
        ),
        (ParamValidationError(report="bad"), False, ExitCode.SPEC_INVALID, "SpecInvalid"),
    ],
)
def test_s3(error: Exception, transient: bool, exit_code: ExitCode, reason: str) -> None:
    told = translate(error, S3Location("bucket", "key"), "http://server")
    assert (told.exit_code, told.reason) == (exit_code, reason)
    assert told.where == "s3://bucket/key"
    assert told.remedy
    assert is_transient(error) is transient
