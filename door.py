"""The door of the Python API: what is given to a public method is held against its annotations before anything is done.

What does not fit is a UsageError of one sentence. Numbers of numpy are taken as Python's, arrays and series as lists,
and a moment without a zone is UTC. What the method finds wrong later (a file that is none, a setting that a config does
not know) ends as one of this package's errors as well.
"""

from __future__ import annotations

import ast
import difflib
import functools
import importlib
import inspect
import math
import os
import reprlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from types import UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, Unpack, get_args, get_origin, get_type_hints

from .errors import HubspokeError, UsageError
from .files import file_fault
from .forks import Lock
from .settings import is_storable

C = TypeVar("C", bound=type)
P = ParamSpec("P")
R = TypeVar("R")
DEEPEST = 50  # levels of a config
_WORDS: Mapping[Any, str] = {
    str: "a text", int: "a whole number", float: "a number", bool: "True or False", Path: "a path", type(None): "None",
    datetime: "a datetime",
}  # fmt: skip
# A method that calls another one has checked already what it passes on.
_inside: ContextVar[bool] = ContextVar("inside", default=False)


class _Misfit(Exception):  # noqa: N818  # never leaves this module
    """A value is not of the kind that is wanted; `found` and `remedy` where there is more to say than that."""

    def __init__(self, found: str = "", remedy: str = "") -> None:
        self.found, self.remedy = found, remedy


def checked(cls: C) -> C:
    """Put the door in front of every public method of a class."""
    for name, member in list(vars(cls).items()):
        if inspect.isfunction(member) and not name.startswith("_"):
            setattr(cls, name, door(member))
    return cls


def door(function: Callable[P, R]) -> Callable[P, R]:
    """The function behind its door."""

    @functools.wraps(function)
    def enter(*args: P.args, **kwargs: P.kwargs) -> R:
        if _inside.get():
            return function(*args, **kwargs)
        given = _bound(function, args, kwargs)
        token = _inside.set(True)
        try:
            with outside_faults():
                return function(*given.args, **given.kwargs)
        finally:
            _inside.reset(token)

    return enter


@contextmanager
def outside_faults() -> Iterator[None]:
    """Turn what files, configs and too deep a nesting are refused with into this package's errors."""
    try:
        yield
    except HubspokeError:
        raise
    except Exception as error:
        told = translated(error)
        if told is None:
            raise
        raise told from error


def translated(error: BaseException) -> HubspokeError | None:
    """A foreign error that a user can mend as one of ours; None for any other."""
    if isinstance(error, OSError):
        return file_fault(error)
    if isinstance(error, RecursionError):
        return UsageError(f"What was given is nested deeper than {DEEPEST} levels; write it flatter.")
    # Registry commands load no pydantic; what is not loaded cannot have been raised.
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and isinstance(error, pydantic.ValidationError):
        return UsageError(_config_fault(error.errors()))
    return None


def _config_fault(faults: Sequence[Mapping[str, Any]]) -> str:
    first, *others = faults
    where = ".".join(map(str, first["loc"])) or "the config"
    if first["type"] == "extra_forbidden":
        return f"{where!r} is no setting; correct --set, --config or the option, or leave it out."
    more = f" (and {len(others)} more)" if others else ""
    return f"{where} is {reprlib.repr(first['input'])}: {first['msg']}{more}; correct --set, --config or the option."


def _bound(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> inspect.BoundArguments:
    """The arguments by their names, each as what its annotation says."""
    kinds = _kinds(function)
    known = [name for name in kinds if not name.startswith("*")]
    unknown = [] if "**" in kinds else [name for name in kwargs if name not in known]
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"use one of {', '.join(known)}."
        raise UsageError(f"{function.__name__} takes no {unknown[0]!r}; {remedy}")
    signature = _signature(function)
    try:
        given = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise UsageError(f"{function.__name__} was called wrongly: {error}; see help({function.__name__}).") from None
    for name, value in given.arguments.items():
        how = signature.parameters[name].kind
        if how is inspect.Parameter.VAR_POSITIONAL:
            given.arguments[name] = tuple(_fitted(name, one, kinds["*"]) for one in value)
        elif how is inspect.Parameter.VAR_KEYWORD:
            given.arguments[name] = {own: _fitted(own, one, kinds.get(own, Any)) for own, one in value.items()}
        elif name in kinds:
            given.arguments[name] = _fitted(name, value, kinds[name])
    return given


# Taken apart once, however often a method is called.
_signature = functools.cache(inspect.signature)


@functools.cache
def _kinds(function: Callable[..., Any]) -> Mapping[str, Any]:
    """What each keyword has to be; `*` of those without name, `**` where any keyword is taken."""
    found: dict[str, Any] = {}
    for name, parameter in _signature(function).parameters.items():
        if parameter.annotation is inspect.Parameter.empty:
            continue
        kind = _evaluated(parameter.annotation, function)
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            found["*"] = kind
        elif parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            found[name] = kind
        elif get_origin(kind) is Unpack:
            found |= get_type_hints(get_args(kind)[0])
        else:
            found["**"] = kind
    return found


def _evaluated(annotation: Any, function: Callable[..., Any]) -> Any:
    """An annotation; names that the module imports for type checkers alone are imported now."""
    if not isinstance(annotation, str):
        return annotation
    names = {**vars(sys.modules[function.__module__])}
    wanted = {node.id for node in ast.walk(_parsed(annotation)) if isinstance(node, ast.Name)} - set(names)
    module = sys.modules[function.__module__]
    for node in ast.walk(_parsed(inspect.getsource(module))) if wanted else ():
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) in wanted:
                    source = importlib.import_module(f"{'.' * node.level}{node.module or ''}", module.__package__)
                    names[alias.asname or alias.name] = getattr(source, alias.name)
    return eval(annotation, names)


_parsing = Lock()


def _parsed(source: str) -> ast.Module:
    """A syntax tree; two threads that parse at once break each other's in Python 3.11 (SystemError)."""
    with _parsing:
        return ast.parse(source)


def _fitted(name: str, value: Any, kind: Any) -> Any:
    try:
        return _as(value, kind)
    except _Misfit as misfit:
        found = misfit.found or f"{reprlib.repr(value)} ({type(value).__name__})"
        words = _in_words(kind)
        hint = f", as in [{value!r}]" if isinstance(value, str) and value and words.startswith("a list") else ""
        raise UsageError(f"{name} is {found}; {misfit.remedy or f'give it {words}{hint}'}.") from None


def _as(value: Any, kind: Any) -> Any:
    """The value as `kind`."""
    value = _of_python(value)
    if kind is Any:
        return _plain(value)
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _as_one_of(value, inner)
    if origin is Literal:
        return _require(value, any(type(value) is type(one) and value == one for one in inner))
    if origin in (Sequence, list, tuple):
        listed = _require(value, isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray))
        made = [_as(one, inner[0]) for one in listed]
        return tuple(made) if isinstance(listed, tuple) else made
    if origin in (Mapping, dict):
        named = _require(value, isinstance(value, Mapping))
        return {_as(key, inner[0]): _as(one, inner[1]) for key, one in named.items()}
    return _as_class(value, kind)


def _as_one_of(value: Any, kinds: Sequence[Any]) -> Any:
    if Path in kinds and isinstance(value, str) and not value:
        raise _Misfit("an empty text")
    reason = _Misfit()
    for kind in kinds:
        try:
            return _as(value, kind)
        except _Misfit as misfit:
            reason = reason if reason.found else misfit
    raise reason


def _as_class(value: Any, kind: Any) -> Any:
    if kind is None or kind is type(None):
        return _require(value, value is None)
    if kind is float:
        number = _whole(_require(value, isinstance(value, int | float) and not isinstance(value, bool)))
        return _require(value, not math.isnan(number))
    if kind is int:
        return _whole(_require(value, isinstance(value, int) and not isinstance(value, bool)))
    if kind is str:
        return _text(_require(value, isinstance(value, str)))
    if kind is Path:
        path = _text(str(_require(value, isinstance(value, str | os.PathLike))))
        if not path:
            raise _Misfit("an empty text")
        return Path(path)
    if kind is datetime and isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return _require(value, not isinstance(kind, type) or isinstance(value, kind))


def _require(value: Any, fits: bool) -> Any:
    if not fits:
        raise _Misfit
    return value


def _of_python(value: Any) -> Any:
    """Scalars of numpy as Python's, arrays and series as lists."""
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    as_list = getattr(value, "to_list", None)  # a series of polars or pandas
    return as_list() if callable(as_list) and not isinstance(value, str | Mapping) else value


def _plain(value: Any, depth: int = 0) -> Any:
    """Any value of a config: finite numbers, texts that can be stored, not too deep."""
    value = _of_python(value)
    if depth > DEEPEST:
        raise _Misfit(f"nested deeper than {DEEPEST} levels", "write it flatter")
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return _whole(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise _Misfit(f"{value} somewhere, which is no finite number", "write one there")
    if isinstance(value, Mapping):
        return {_plain(key): _plain(one, depth + 1) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(one, depth + 1) for one in value) if type(value) in (list, tuple) else value
    return value


def _whole(number: Any) -> Any:
    """The number itself, if it is none of those whole ones that take more than 64 bits, as neither database has."""
    if isinstance(number, int) and not -(2**63) <= number < 2**63:
        raise _Misfit(f"{reprlib.repr(number)}, a number of more than 64 bits", "give it one nearer to zero")
    return number


def _text(text: str) -> str:
    """The text itself, if both databases and UTF-8 can hold it."""
    if not is_storable(text):
        raise _Misfit(f"{reprlib.repr(text)}, with a character that no database stores", "leave it out")
    return text


def _in_words(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        of_texts = [one for one in inner if not (one is str and Path in inner)]  # a path may be written as a text
        return " or ".join(dict.fromkeys(map(_in_words, of_texts)))
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin in (Sequence, list, tuple):
        return f"a list of {_of_many(inner[0])}"
    if origin in (Mapping, dict):
        return "a dict" if inner[1] is Any else f"a dict of {_of_many(inner[1])}"
    return _WORDS.get(kind) or f"a {getattr(kind, '__name__', kind)}"


def _of_many(kind: Any) -> str:
    return f"{_in_words(kind).removeprefix('a ')}s"
