"""Settings in YAML or JSON as people write them: what would be read otherwise than it was meant is refused by its line.

Refused are keys that stand twice or are no text, numbers that are none, aliases (a few lines of them grow to any size),
and what is nested too deeply.
"""

from __future__ import annotations

import codecs
import math
from pathlib import Path
from typing import Any

import yaml

from .errors import HubspokeError, InvalidDataError, NotFoundError

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_config_file(path: Path, what: str, example: str, refusal: type[HubspokeError] = InvalidDataError) -> Any:
    """What a file of UTF-8 holds, None where it is empty; `what` names it, `example` is a line of it."""
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise NotFoundError(f"There is no {what} {path}; check the path.") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        where = "it is UTF-16" if content.startswith(_UTF16) else f"line {line} is not"
        raise refusal(f"{path} is no valid YAML or JSON in UTF-8 ({where}); save it as UTF-8.") from error
    return read_text(text, f"{path} is no valid YAML or JSON in UTF-8", f"write lines such as '{example}'", refusal)


def read_text(text: str, fault: str, remedy: str, refusal: type[HubspokeError] = InvalidDataError) -> Any:
    """What a text in YAML or JSON says; an error is `fault`, why, and `remedy`."""
    try:
        return yaml.load(text, _Strict)
    except yaml.MarkedYAMLError as error:
        why = error.problem or error.context or "it cannot be read"
        if error.problem_mark:
            why = f"line {error.problem_mark.line + 1}: {why}"
    except RecursionError:
        why = "it is nested too deeply"
    except (yaml.YAMLError, ValueError) as error:
        why = str(error).splitlines()[0].rstrip(".")
    raise refusal(f"{fault} ({why}); {remedy}.")


class _Strict(yaml.SafeLoader):
    """The safe loader, which takes plain values only, without its silent choices."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not read", self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                self._refuse(key_node, f"the key {key!r} is no text, put it in quotes")
            if key in seen:
                self._refuse(key_node, f"the key {key!r} stands there twice")
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_finite(self, node: Any) -> float:
        number = self.construct_yaml_float(node)
        if not math.isfinite(number):
            self._refuse(node, f"{node.value} is no finite number")
        return float(number)

    def _refuse(self, node: Any, why: str) -> None:
        raise yaml.constructor.ConstructorError(None, None, why, node.start_mark)


_Strict.add_constructor("tag:yaml.org,2002:float", _Strict.construct_finite)
