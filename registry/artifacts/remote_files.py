"""The files below one fsspec URL: the only door to fsspec, its drivers' faults put into our words.

Nothing is remembered between two calls, because other machines write to the same place.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from ...errors import HubspokeError, MissingExtraError, UsageError

T = TypeVar("T")
_CHUNK = 1 << 20

# There a folder is nothing but the common beginning of names, and asking for one could make a bucket.
_WITHOUT_FOLDERS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci"}
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}


class RemoteFiles:
    """Files by their paths relative to a URL such as `s3://bucket/prefix`.

    Every method raises HubspokeError where the place does not exist, cannot be reached, or refuses.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._driver, base = _driver_of(self.url)
        self._base = base.rstrip("/")
        kinds = self._driver.protocol
        self._has_folders = _WITHOUT_FOLDERS.isdisjoint((kinds,) if isinstance(kinds, str) else kinds)

    def list(self, folder: str = "") -> dict[str, int]:
        """Path to size of every file, or of those below one folder."""
        with remote_faults(self.url):
            found: Mapping[str, Mapping[str, Any]] = self._driver.find(self._path(folder), detail=True)
        return {path.removeprefix(f"{self._base}/"): int(info["size"]) for path, info in found.items()}

    def read(self, path: str) -> bytes | None:
        """A file's content, None where there is no such file."""
        return self._or_none(lambda: bytes(self._driver.cat_file(self._path(path))))

    def hash(self, path: str) -> str | None:
        """SHA-256 of a file, read piece by piece; None where there is no such file."""

        def read() -> str:
            digest = hashlib.sha256()
            with self._driver.open(self._path(path), "rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
            return digest.hexdigest()

        return self._or_none(read)

    def modified(self, path: str) -> datetime | None:
        """When a file was last written, by the clock of the place; None where there is no such file."""
        moment: datetime | None = self._or_none(lambda: self._driver.modified(self._path(path)))
        return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        with remote_faults(self.url):
            return bool(self._driver.exists(self._path(path)))

    def download(self, path: str, target: Path) -> bool:
        """Copy a file to this machine; False where there is no such file."""

        def copy() -> bool:
            self._driver.get_file(self._path(path), str(target))
            return True

        return self._or_none(copy) is not None

    def upload(self, source: Path, path: str) -> None:
        """Copy a file of this machine to its place, over what lies there."""
        with remote_faults(self.url):
            self._make_folder(path)
            self._driver.put_file(str(source), self._path(path))

    def write(self, path: str, content: bytes) -> None:
        """Write a file over what lies there."""
        with remote_faults(self.url):
            self._make_folder(path)
            self._driver.pipe_file(self._path(path), content)

    def remove(self, path: str) -> None:
        """Remove a file where there is one."""
        with remote_faults(self.url), suppress(FileNotFoundError):
            self._driver.rm_file(self._path(path))

    def _path(self, path: str) -> str:
        return f"{self._base}/{path}" if path else self._base

    def _make_folder(self, path: str) -> None:
        if self._has_folders:
            self._driver.makedirs(self._path(path).rpartition("/")[0], exist_ok=True)

    def _or_none(self, ask: Callable[[], T]) -> T | None:
        with remote_faults(self.url):
            try:
                return ask()
            except FileNotFoundError as error:
                # botocore's response has the server's own code: the whole store is missing, not one object of it.
                response = getattr(error.__cause__, "response", None) or {}
                if response.get("Error", {}).get("Code") == "NoSuchBucket" or error.filename is not None:
                    raise
                return None


def _driver_of(url: str) -> tuple[Any, str]:
    """The driver of a URL and the place in its own words."""
    import fsspec
    from fsspec.core import url_to_fs

    kind = url.split("://")[0]
    try:
        # Neither listings nor connections are shared with anybody else in this process.
        driver, base = url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
    except ImportError as error:
        remedy = "install the package that it names"
        if kind in _EXTRAS:
            remedy = f"install it with `pip install 'hubspoke[{_EXTRAS[kind]}]'`"
        raise MissingExtraError(f"The driver of {url} is not installed ({_first_line(error)}); {remedy}.") from error
    except ValueError as error:
        if kind in fsspec.available_protocols():
            raise
        raise UsageError(
            f"Artifacts cannot lie at {url}, whose kind {kind!r} is unknown; set a folder, "
            "s3://bucket/prefix, gs://bucket/prefix or another fsspec URL."
        ) from error
    return driver, str(base)


# ---- faults ----

_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError")
# A ValueError is botocore's word for an endpoint that is no URL.
_UNREACHABLE = (ConnectionError, TimeoutError, socket.gaierror, ssl.SSLError, ValueError)


@contextmanager
def remote_faults(where: str) -> Iterator[None]:
    """Translate what the driver raises inside the block; `where` is the store's URL."""
    try:
        yield
    except Exception as error:
        known = remote_fault(error, where)
        if known is None:
            raise
        raise known from error


def remote_fault(error: Exception, where: str) -> HubspokeError | None:
    """A driver's error as one of ours, None where it is no driver's."""
    if isinstance(error, HubspokeError) or (isinstance(error, OSError) and error.filename is not None):
        return None  # the latter is of a file of this machine
    text = _first_line(error)
    if isinstance(error, FileNotFoundError):
        return HubspokeError(
            f"The bucket or folder of {where} does not exist; create it, or set HUBSPOKE_ARTIFACTS to another."
        )
    if isinstance(error, PermissionError):
        return HubspokeError(
            f"Access to {where} is denied ({text}); give these credentials the right to list, read, write and delete "
            "there."
        )
    botocore, google = "botocore.exceptions", "google.auth.exceptions"
    if _is_any(error, *_loaded(botocore, *_NO_CREDENTIALS), *_loaded(google, "GoogleAuthError")):
        return HubspokeError(
            f"There are no valid credentials for {where} ({text}); set those that its driver reads, "
            "such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile."
        )
    sent = *_loaded(botocore, "HTTPClientError", "ConnectionError"), *_loaded("aiohttp", "ClientConnectionError")
    if _is_any(error, *_UNREACHABLE, *sent):
        return HubspokeError(
            f"{where} cannot be reached ({text}); check the network and the endpoint, such as AWS_ENDPOINT_URL."
        )
    # Whatever exception is not built into Python is a driver's own.
    if isinstance(error, OSError | NotImplementedError) or type(error).__module__ != "builtins":
        return HubspokeError(f"{where} refused ({text}); check that it can be listed, read and written.")
    return None


def _loaded(module: str, *names: str) -> tuple[type[BaseException], ...]:
    """Exception types of a module; none where it is not loaded, since then it has raised nothing."""
    known = sys.modules.get(module)
    return tuple(getattr(known, name) for name in names) if known else ()


def _is_any(error: BaseException, *types: type[BaseException]) -> bool:
    """Whether an error, or one that it was raised from, is of these types."""
    link: BaseException | None = error
    while link is not None and not isinstance(link, types):
        link = link.__cause__
    return link is not None


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
