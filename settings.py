"""Where a workspace lies and how its work runs: flag > HUBSPOKE_* environment > hubspoke.yaml > default.

A plain frozen dataclass with its own checks: loading a validation library would cost every registry command a tenth
of a second.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from .errors import NotFoundError, UsageError

DEFAULT_WORKSPACE = ".hubspoke"
SETTINGS_FILE = "hubspoke.yaml"
PREFIX = "HUBSPOKE_"
REGISTRY_FILE = "registry.db"


@dataclass(frozen=True)
class Settings:
    """Settings of a workspace."""

    workspace: Path = Path(DEFAULT_WORKSPACE)  # folder of registry, artifacts and cache, unless these are set apart
    registry_url: str | None = None  # None is SQLite inside the workspace
    artifacts: Path | str | None = None  # folder, or a URL such as `s3://bucket/prefix`; None is inside the workspace
    cache: Path | None = None  # of embeddings, and of read copies of artifacts at a URL; None is inside the workspace
    threads: int | None = None  # of arithmetic; None goes by the work and the cores that are free
    device: str = "auto"  # or `cpu`, `cuda`, `cuda:N`
    seed: int = 0  # everything random is drawn from it

    @property
    def registry_file(self) -> Path:
        """Where the registry lies if no `registry_url` says otherwise."""
        return self.workspace / REGISTRY_FILE

    @property
    def artifacts_location(self) -> Path | str:
        """Folder of the artifact store, or its URL as a text."""
        return self.artifacts or self.workspace / "artifacts"

    @property
    def artifacts_dir(self) -> Path:
        """Folder on this machine that artifacts are read from: the store itself, or the read copies of one at a URL."""
        location = self.artifacts_location
        return location if isinstance(location, Path) else self.cache_dir / "artifacts"

    @property
    def cache_dir(self) -> Path:
        """Folder of the embedding cache."""
        return self.cache or self.workspace / "cache"

    @property
    def events_dir(self) -> Path:
        """Folder of what services log of shoppers, a folder for each domain."""
        return self.workspace / "events"

    @property
    def exposures_dir(self) -> Path:
        """Folder of what services log of lists that were part of an experiment, a folder for each domain."""
        return self.workspace / "exposures"


NAMES: tuple[str, ...] = tuple(field.name for field in fields(Settings))
_PATHS = ("workspace", "artifacts", "cache")
# NUL, and halves of a surrogate pair, which bytes that are no text become.
_UNSTORED = frozenset("\0").union(map(chr, range(0xD800, 0xE000)))
_NUMBERS = {"threads": 1, "seed": 0}  # smallest value allowed


def load_settings(flags: Mapping[str, Any], environ: Mapping[str, str], cwd: Path) -> Settings:
    """Settings from the four sources; a value of None or an empty environment variable does not count as given.

    `hubspoke.yaml` is looked for in `cwd`, and relative paths are relative to it.
    """
    given: dict[str, Any] = {}
    sources = ((_from_file(cwd), SETTINGS_FILE), (_from_environment(environ), "the environment"), (flags, "the call"))
    for source, where in sources:
        for name, value in source.items():
            _check_name(name, where)
            if value is not None:
                given[name] = _converted(name, value, where)
    settings = Settings(**given)
    paths = {name: getattr(settings, name) for name in _PATHS}
    absolute: dict[str, Any] = {name: cwd / path for name, path in paths.items() if isinstance(path, Path)}
    for name, path in absolute.items():
        if path.is_file():
            raise UsageError(f"{name} is {path}, which is a file; give it a folder.")
    return replace(settings, **absolute)


def is_storable(text: str) -> bool:
    """Whether both databases and UTF-8 can hold a text."""
    return _UNSTORED.isdisjoint(text)


def current_folder() -> Path:
    """The folder that the process is in; NotFoundError where it was removed under it."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise NotFoundError("The current folder was removed; change to another one and repeat the command.") from None


def _from_file(cwd: Path) -> Mapping[str, Any]:
    path = cwd / SETTINGS_FILE
    if not path.is_file():
        return {}
    from .configs import read_config_file

    content = read_config_file(path, "settings file", "device: cpu", UsageError)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"{path} holds a {type(content).__name__}, not settings; write lines such as 'device: cpu'.")
    return {str(name): value for name, value in content.items()}


def _from_environment(environ: Mapping[str, str]) -> Mapping[str, Any]:
    found = {}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name in NAMES:
            found[name] = value or None
        elif difflib.get_close_matches(name, NAMES, n=1, cutoff=0.8):
            # Other programs may own variables of this prefix; only what looks like a slip of the pen is refused.
            _check_name(name, "the environment")
    return found


def _check_name(name: str, where: str) -> None:
    if name in NAMES:
        return
    near = difflib.get_close_matches(name, NAMES, n=1)
    remedy = f"did you mean {near[0]}?" if near else f"use one of {', '.join(NAMES)}."
    raise UsageError(f"{name!r} in {where} is no setting; {remedy}")


def _converted(name: str, value: Any, where: str) -> Any:
    if isinstance(value, str | Path) and not is_storable(str(value)):
        raise UsageError(
            f"{name} in {where} is {str(value)!r}, with a character that no database stores; leave it out."
        )
    if name in _PATHS and isinstance(value, str) and "://" in value:
        return _place(name, value, where)
    if name in _PATHS and isinstance(value, str | Path) and str(value):
        return _at_home(Path(value), name, where)
    if name in _NUMBERS:
        text = value.strip() if isinstance(value, str) else ""
        number = int(text) if text.isascii() and text.isdigit() else value
        if isinstance(number, bool) or not isinstance(number, int) or number < _NUMBERS[name]:
            raise UsageError(f"{name} in {where} is {value!r}; give it a whole number of at least {_NUMBERS[name]}.")
        return number
    if isinstance(value, str) and value:
        return value
    raise UsageError(f"{name} in {where} is {value!r}; give it a text.")


def _at_home(path: Path, name: str, where: str) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise UsageError(f"{name} in {where} is {str(path)!r}, nobody's home folder; write the path out.") from None


def _place(name: str, url: str, where: str) -> Path | str:
    """A URL of artifacts without its last slash; `file:///folder` is the folder."""
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(url)
    if parts.scheme == "file" and (parts.query or parts.fragment):
        raise UsageError(f"{name} in {where} is {url!r}; write %3F for ? and %23 for # in it, or give the folder.")
    if parts.scheme == "file" and not parts.netloc and parts.path.strip("/"):
        # Not from `parts`, which leave line breaks out; bytes that are no text are refused with all such paths.
        path = unquote(url.partition("://")[2], errors="surrogateescape")
        return Path(str(_converted(name, Path(path), where)))
    if name != "artifacts" or parts.scheme == "file":
        raise UsageError(f"{name} in {where} is {_shown(url)!r}; give it a folder of this machine.")
    if parts.password is not None:
        raise UsageError(f"{name} in {where} has a password in {_shown(url)!r}; leave it to the driver's environment.")
    if not parts.scheme or not (parts.netloc or parts.path.strip("/")) or parts.query or parts.fragment:
        raise UsageError(f"{name} in {where} is {url!r}; write a URL like s3://bucket/prefix, or a folder.")
    return url.rstrip("/")


def _shown(url: str) -> str:
    """The URL without a password."""
    scheme, _, rest = url.partition("://")
    user, at, host = rest.rpartition("@")
    return f"{scheme}://{user.split(':')[0]}{at}{host}"
