"""The files below one fsspec URL: the only door to fsspec, its drivers' faults put into our words.

Nothing is remembered between two calls, because other machines write to the same place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from .manifests import hash_of
from .remote_faults import missing_driver, remote_faults, says_no_bucket, unknown_protocol

T = TypeVar("T")

# There a folder is nothing but the common beginning of names, and asking for one could make a bucket.
_WITHOUT_FOLDERS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci"}


class RemoteFiles:
    """Files by their paths relative to a URL.

    Every method raises HubspokeError where the place does not exist, cannot be reached, or refuses.

    Args:
        url: such as `s3://bucket/prefix`.

    Raises:
        MissingExtraError: the URL's driver is not installed.
        UsageError: no such kind of URL.
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
            with self._driver.open(self._path(path), "rb") as file:
                return hash_of(file)

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
                if says_no_bucket(error) or error.filename is not None:
                    raise
                return None


def _driver_of(url: str) -> tuple[Any, str]:
    """The driver of a URL and the place in its own words."""
    import fsspec
    from fsspec.core import url_to_fs

    try:
        # Neither listings nor connections are shared with anybody else in this process.
        driver, base = url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
    except ImportError as error:
        raise missing_driver(url, error) from error
    except ValueError as error:
        if url.split("://")[0] in fsspec.available_protocols():
            raise
        raise unknown_protocol(url) from error
    return driver, str(base)
