"""JSON Schemas (draft 2020-12) of what commands write, derived from the types of their results.

Works from the dataclasses themselves, so that a schema says what `to_dict()` gives: nothing is written down twice.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from ..registry.records import Record
from .results import Result

DRAFT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]
# A shape is written as: the path of a type below this package ("registry.records.NodeRecord", "int"; "?" at the end:
# or null), [shape] for a list, {"key": shape, ...} for an object of exactly these keys (the key "*" stands for the
# fields of the type behind it), {str: shape} for an object of any keys, (shape, shape) for one of several.
Shape = Any

_SIMPLE: dict[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    float: {"type": ["number", "null"]},  # what is no number (NaN) is written as null
    type(None): {"type": "null"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    Path: {"type": "string"},
    Any: {},
    object: {},
}
_NAMES: dict[str, Any] = {"str": str, "int": int, "bool": bool, "float": float, "object": dict[str, Any], "any": Any}
_ROOT = __name__.rpartition(".")[0].rpartition(".")[0]


class Schemas:
    """Turns shapes and types into schemas; the dataclasses met on the way are collected in `defs`.

    Args:
        own: classes that write something else than their fields, by path, with the shape that they do write.
    """

    def __init__(self, own: Mapping[str, Shape]) -> None:
        self.own = own
        self.defs: dict[str, Schema] = {}
        self._met: dict[str, type] = {}

    def document(self, shape: Shape, **head: Any) -> Schema:
        """The schema of a whole JSON document of an object's shape; `head` (`$id`, `title`) comes first.

        Raises:
            TypeError: the shape is no object, or a type in it has no schema.
        """
        made = self.inline(shape)
        if any(form.get("type") != "object" for form in forms(made)):
            raise TypeError(f"{shape!r} is no object; a document has to be one")
        defs = {"$defs": dict(sorted(self.defs.items()))} if self.defs else {}
        return {"$schema": DRAFT, **head, **made, **defs}

    def inline(self, shape: Shape) -> Schema:
        """The schema of a shape; a dataclass is written out instead of referred to."""
        if isinstance(shape, str) and is_dataclass(found := resolve(shape)):
            return self._fields(typing.cast("type", found))
        if isinstance(shape, tuple):
            return {"oneOf": [self.inline(form) for form in shape]}
        return self.of_shape(shape)

    def of_shape(self, shape: Shape) -> Schema:
        """The schema of a shape."""
        if isinstance(shape, str):
            path = shape.removesuffix("?")
            made = self.of_type(resolve(path))
            return _either([made, {"type": "null"}]) if path != shape else made
        if isinstance(shape, list):
            return {"type": "array", "items": self.of_shape(shape[0])}
        if isinstance(shape, tuple):
            return {"oneOf": [self.of_shape(form) for form in shape]}
        if set(shape) == {str}:
            return {"type": "object", "additionalProperties": self.of_shape(shape[str])}
        return self._object(shape)

    def of_type(self, annotation: Any) -> Schema:
        """The schema of what a value of this type is written as.

        Raises:
            TypeError: it has none.
        """
        if annotation in _SIMPLE:
            return dict(_SIMPLE[annotation])
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin in (typing.Union, types.UnionType):
            return _either([self.of_type(argument) for argument in arguments])
        if origin is typing.Literal:
            return {"enum": list(arguments)}
        if origin is not None:
            return self._generic(origin, arguments)
        if isinstance(annotation, type):
            return self._class(annotation)
        raise TypeError(f"{annotation!r} has no JSON Schema; annotate results with plain types")

    def _object(self, shape: Mapping[str, Shape]) -> Schema:
        properties: dict[str, Schema] = {}
        for name, inner in shape.items():
            if name == "*":
                properties |= self.inline(inner)["properties"]
            else:
                properties[name] = self.of_shape(inner)
        return _closed(properties)

    def _generic(self, origin: Any, arguments: tuple[Any, ...]) -> Schema:
        if issubclass(origin, Mapping):
            value = self.of_type(arguments[1])
            return {"type": "object", **({"additionalProperties": value} if value else {})}
        if origin is tuple and arguments[-1] is not Ellipsis:
            places = [self.of_type(argument) for argument in arguments]
            return {"type": "array", "prefixItems": places, "minItems": len(places), "maxItems": len(places)}
        return {"type": "array", "items": self.of_type(arguments[0])}

    def _class(self, cls: type) -> Schema:
        if issubclass(cls, Enum):
            return {"enum": [member.value for member in cls]}
        if issubclass(cls, dict | Mapping):
            return {"type": "object"}
        if not is_dataclass(cls):
            raise TypeError(f"{cls.__qualname__} has no JSON Schema; make it a dataclass")
        if self._met.setdefault(cls.__name__, cls) is not cls:
            raise TypeError(f"two results are called {cls.__name__}; rename one of them")
        if cls.__name__ not in self.defs:
            self.defs[cls.__name__] = {}  # a class may contain itself
            self.defs[cls.__name__] = self._fields(cls)
        return {"$ref": f"#/$defs/{cls.__name__}"}

    def _fields(self, cls: type) -> Schema:
        """What `to_dict()` of a dataclass gives."""
        said, about = _documentation(cls)
        path = f"{cls.__module__.removeprefix(f'{_ROOT}.')}.{cls.__name__}"
        if path in self.own:
            return {"description": said, **self.of_shape(self.own[path])}
        if getattr(cls, "to_dict", None) not in (None, Result.to_dict, Record.to_dict):
            raise TypeError(f"{path} has a to_dict of its own; say in the table of own forms what it gives")
        properties = {name: self.of_type(annotation) for name, annotation in _written(cls)}
        described = {name: _described(schema, about.get(name)) for name, schema in properties.items()}
        return {"description": said, **_closed(described)}


def forms(schema: Schema) -> list[Schema]:
    """The forms that a document may have: mostly one."""
    found: list[Schema] = schema.get("oneOf", [schema])
    return found


def resolve(path: str) -> Any:
    """The type behind `int` or `registry.records.NodeRecord`.

    Raises:
        TypeError: there is none.
    """
    if path in _NAMES:
        return _NAMES[path]
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(f"{_ROOT}.{module}"), name)
    except (ImportError, AttributeError, ValueError):
        raise TypeError(f"there is no type {path} in {_ROOT}") from None


def _written(cls: Any) -> Iterator[tuple[str, Any]]:
    """The keys that a dataclass is written with, and their types; a record's derived reference comes first."""
    annotations = typing.get_type_hints(cls, localns=_type_checking_names(cls.__module__))
    names = [field.name for field in fields(cls)]
    if issubclass(cls, Record) and "ref" not in names and hasattr(cls, "ref"):
        yield "ref", str
    for name in names:
        yield name, annotations[name]


@cache
def _type_checking_names(module: str) -> dict[str, Any]:
    """What a module imports for its annotations only, which a running program does not see."""
    loaded = sys.modules[module]
    found: dict[str, Any] = dict(vars(loaded))
    for node in ast.parse(inspect.getsource(loaded)).body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for line in node.body:
                if isinstance(line, ast.ImportFrom):
                    found |= _imported(line, loaded.__package__ or "")
    return found


def _imported(line: ast.ImportFrom, package: str) -> dict[str, Any]:
    target = importlib.util.resolve_name("." * line.level + (line.module or ""), package)
    source = importlib.import_module(target)
    return {alias.asname or alias.name: getattr(source, alias.name, None) for alias in line.names}


def _documentation(cls: type) -> tuple[str, dict[str, str]]:
    """What a class's docstring says of it, and of each of its attributes."""
    text, _, listed = inspect.cleandoc(cls.__doc__ or "").partition("\nAttributes:\n")
    about: dict[str, str] = {}
    name = ""
    for line in listed.splitlines():
        start = re.fullmatch(r" {4}(\w+): (.*)", line)
        if start:
            name, about[start[1]] = start[1], start[2]
        elif name and line.startswith(" " * 8):
            about[name] += f" {line.strip()}"
    return _words(text), {name: _words(said) for name, said in about.items()}


def _words(text: str) -> str:
    """A docstring's words for readers of JSON."""
    return re.sub(r"\bNone\b", "null", " ".join(text.split()))


def _described(schema: Schema, text: str | None) -> Schema:
    return schema if text is None else {"description": text, **schema}


def _closed(properties: Mapping[str, Schema]) -> Schema:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _either(schemas: list[Schema]) -> Schema:
    """One of several; simple types are joined."""
    if not all(set(schema) == {"type"} for schema in schemas):
        return {"anyOf": schemas}
    names: list[str] = []
    for schema in schemas:
        names += schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    unique = list(dict.fromkeys(names))
    return {"type": unique[0] if len(unique) == 1 else unique}
