"""S3 credentials from a mounted Secret that may be rotated while we run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.credentials import CredentialProvider, Credentials, ReadOnlyCredentials

from asrtune_api.errors import SpecInvalidError

if TYPE_CHECKING:
    from pathlib import Path

_NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_READS = (
    10  # a kubelet swaps all files of a Secret by one rename: two reads in a row that agree are a whole set
)


class MountedCredentials(Credentials):
    """Credentials read from a directory each time that a request is signed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        access_key, secret_key, token = read_credentials(directory)
        super().__init__(access_key, secret_key, token, method="mounted-secret")

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """The credentials as the files hold them now; botocore asks before it signs a request."""
        return ReadOnlyCredentials(*read_credentials(self._directory))


class MountedCredentialsProvider(CredentialProvider):
    """Hands `MountedCredentials` to a botocore session."""

    METHOD = "mounted-secret"

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory

    def load(self) -> MountedCredentials:
        """Reads them for the first time."""
        return MountedCredentials(self._directory)


def read_credentials(directory: Path) -> tuple[str, str, str | None]:
    """Access key, secret key and, where there is one, session token.

    Raises:
        SpecInvalidError: a file is missing, empty or cannot be read.
    """
    before = _read(directory)
    for _ in range(_READS):
        now = _read(directory)
        if now == before:
            break
        before = now
    access_key, secret_key, token = before
    for name, value in zip(_NAMES, (access_key, secret_key), strict=False):
        if not value:
            raise SpecInvalidError(
                "the S3 credentials are incomplete.",
                where=str(directory / name),
                remedy=f"The Secret needs the keys {_NAMES[0]} and {_NAMES[1]}.",
                reason="CredentialsInvalid",
            )
    return access_key, secret_key, token or None


def _read(directory: Path) -> tuple[str, str, str]:
    access_key, secret_key, token = (_read_file(directory / name) for name in _NAMES)
    return access_key, secret_key, token


def _read_file(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise SpecInvalidError(
            f"the S3 credentials cannot be read: {error}.",
            where=str(path),
            remedy="Mount the Secret so that this user can read it.",
            reason="CredentialsInvalid",
        ) from error
