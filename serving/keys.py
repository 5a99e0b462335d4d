"""The keys that callers show: 256 random bits each, of which a file keeps the hash, a name and what it is good for."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import InvalidDataError, NotFoundError, UsageError
from ..files import atomic_write
from ..results import Record

Scope = Literal["read", "events", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
# So that a key that is found in a log or a repository is known for what it is.
PREFIX = "hsk_"


class StoredKey(BaseModel):
    """A key as its file holds it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=60)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: tuple[Scope, ...] = Field(min_length=1)
    created_at: datetime


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[StoredKey, ...] = ()


@dataclass(frozen=True)
class KeyRecord(Record):
    """What is known of a key; the key itself is told once, when it is made."""

    name: str
    scopes: Sequence[str]
    created_at: datetime


@dataclass(frozen=True)
class NewKey(Record):
    """A key that was just made."""

    name: str
    scopes: Sequence[str]
    file: Path
    key: str | None  # None in a dry run


@dataclass(frozen=True)
class RemovedKey(Record):
    """A key that is good for nothing any more; a running service knows within a second."""

    name: str
    file: Path
    dry_run: bool


def read_keys(path: Path) -> tuple[StoredKey, ...]:
    """The keys of a file."""
    try:
        return _Stored.model_validate_json(path.read_bytes()).keys
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no file of keys {path}; make it with `hubspoke key add NAME`.") from error
    except (OSError, ValidationError) as error:
        raise InvalidDataError(
            f"{path} is no readable file of keys; make a new one with `hubspoke key add`."
        ) from error


def add_key(path: Path, name: str, scopes: Sequence[Scope], dry_run: bool = False) -> NewKey:
    """Make a key and write its hash to the file, which is made where it is missing."""
    known = read_keys(path) if path.exists() else ()
    if any(own.name == name for own in known):
        raise UsageError(f"{path} has a key {name!r} already; take another name, or remove that one first.")
    secret = PREFIX + secrets.token_urlsafe(32)
    try:
        made = StoredKey(name=name, sha256=_hash(secret), scopes=tuple(scopes), created_at=datetime.now(UTC))
    except ValidationError as error:
        raise UsageError("A key needs a name of up to 60 letters and at least one scope; correct them.") from error
    if not dry_run:
        _write(path, (*known, made))
    return NewKey(name, made.scopes, path, None if dry_run else secret)


def remove_key(path: Path, name: str, dry_run: bool = False) -> RemovedKey:
    """Take a key out of the file."""
    known = read_keys(path)
    left = tuple(own for own in known if own.name != name)
    if len(left) == len(known):
        names = ", ".join(own.name for own in known) or "none"
        raise NotFoundError(f"{path} has no key {name!r}; name one of its own: {names}.")
    if not dry_run:
        _write(path, left)
    return RemovedKey(name, path, dry_run)


def list_keys(path: Path) -> list[KeyRecord]:
    """What is known of the keys of a file."""
    return [KeyRecord(own.name, own.scopes, own.created_at) for own in read_keys(path)]


class KeyRing:
    """The keys of a file, read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = 0
        self._by_hash: dict[str, StoredKey] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read the file again where it has changed; one that cannot be read leaves the keys as they are."""
        changed = self._path.stat().st_mtime_ns if self._path.exists() else -1
        if changed != self._changed:
            self._by_hash = {own.sha256: own for own in read_keys(self._path)}
            self._changed = changed

    def named(self, name: str) -> StoredKey | None:
        """The key of that name; None where it was taken out."""
        return next((own for own in self._by_hash.values() if own.name == name), None)

    def find(self, secret: str) -> StoredKey | None:
        """The key that somebody shows; None where it is none of ours."""
        # Looked up by its hash, so that how long it takes tells nothing of the key.
        return self._by_hash.get(_hash(secret))


def _hash(secret: str) -> str:
    # Nobody guesses 256 random bits, so a fast hash is as good as a slow one.
    return hashlib.sha256(secret.encode()).hexdigest()


def _write(path: Path, keys: Sequence[StoredKey]) -> None:
    content = {"keys": [own.model_dump(mode="json") for own in keys]}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, private=True) as file:
        file.write(json.dumps(content, indent=2) + "\n")
