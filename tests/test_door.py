"""A wrong argument of the Python API is one sentence of ours, before anything is done; numpy's numbers are right."""

import ast
import inspect
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any, Literal, TypedDict, Unpack

import numpy as np
import polars as pl
import pytest
from hubspoke.door import _kinds, checked, door, translated
from hubspoke.errors import HubspokeError, NotFoundError, UsageError
from hubspoke.workflows.domains import Domains
from hubspoke.workflows.workspace import Workspace, open_workspace


class Options(TypedDict, total=False):
    images: Path | str | None


@checked
class Shop:
    def ask(
        self,
        ref: str = "garden",
        session: Sequence[str] = (),
        k: int = 10,
        near: float | None = None,
        seen: bool = False,
        config: Mapping[str, Any] | None = None,
        since: datetime | None = None,
        how: Literal["due", "never"] = "due",
        table: Path | str | Sequence[Path | str] | pl.DataFrame | None = None,
        **options: Unpack[Options],
    ) -> dict[str, Any]:
        return {name: value for name, value in locals().items() if name != "self"}

    def compare(self, *refs: str) -> tuple[str, ...]:
        return refs


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"k": "3"}, "k is '3' (str); give it a whole number."),
    ({"k": 2.5}, "k is 2.5 (float); give it a whole number."),
    ({"k": True}, "k is True (bool); give it a whole number."),
    ({"k": float("nan")}, "k is nan (float)"),
    ({"k": None}, "k is None (NoneType)"),
    ({"k": 2**63}, "k is 9223372036854775808, a number of more than 64 bits; give it one nearer to zero."),
    ({"near": 10**400}, "a number of more than 64 bits"),
    ({"config": {"seed": -(10**30)}}, "a number of more than 64 bits"),
    ({"near": float("nan")}, "near is nan (float); give it a number or None."),
    ({"near": "0.5"}, "near is '0.5' (str)"),
    ({"seen": 1}, "seen is 1 (int); give it True or False."),
    ({"session": None}, "session is None (NoneType); give it a list of texts."),
    ({"session": "12"}, "session is '12' (str); give it a list of texts, as in ['12']."),
    ({"session": [1]}, "session is [1] (list); give it a list of texts."),
    ({"session": b"12"}, "session is b'12' (bytes)"),
    ({"session": (text for text in "ab")}, "generator); give it a list of texts."),
    ({"session": {"a"}}, "session is {'a'} (set)"),
    ({"session": ["a\0"]}, r"session is 'a\x00', with a character that no database stores"),
    ({"ref": 5}, "ref is 5 (int); give it a text."),
    ({"ref": "g\udcff"}, r"ref is 'g\udcff', with a character that no database stores"),
    ({"ref": Path("g")}, "PosixPath); give it a text."),
    ({"config": [1]}, "config is [1] (list); give it a dict or None."),
    ({"config": {"a": {"b": float("inf")}}}, "config is inf somewhere, which is no finite number; write one there."),
    ({"config": {"a": "\0"}}, r"config is '\x00', with a character that no database stores; leave it out."),
    ({"since": "2024-01-01"}, "since is '2024-01-01' (str); give it a datetime or None."),
    ({"how": "soon"}, "how is 'soon' (str); give it 'due' or 'never'."),
    ({"table": 5}, "table is 5 (int)"),
    ({"table": b"a.csv"}, "table is b'a.csv' (bytes)"),
    ({"table": ""}, "table is an empty text; give it a path or a list of paths or a DataFrame or None."),
    ({"images": 5}, "images is 5 (int); give it a path or None."),
    ({"imagez": "a"}, "ask takes no 'imagez'; did you mean images?"),
]


@pytest.mark.parametrize(("given", "said"), WRONG, ids=lambda value: ascii(value).split(" at 0x")[0][:60])
def test_a_wrong_argument_is_told_in_one_sentence(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as told:
        Shop().ask(**given)
    message = str(told.value)
    assert said in message
    assert "\n" not in message
    assert message[-1] in ".?"


def test_a_list_that_is_its_own_end_and_too_many_arguments() -> None:
    deep: list[Any] = []
    deep.append(deep)
    with pytest.raises(UsageError, match="nested deeper than 50 levels"):
        Shop().ask(config={"a": deep})
    with pytest.raises(UsageError, match="ask was called wrongly"):
        Shop().ask(*range(20))
    with pytest.raises(UsageError, match="refs is 2"):
        Shop().compare("a", 2)  # type: ignore[arg-type]


def test_what_fits_arrives_as_python_has_it() -> None:
    given: dict[str, Any] = {
        "session": np.array(["a", "b"]), "k": np.int64(3), "near": np.float32(0.5), "seen": np.bool_(True),
        "config": {"seed": np.int64(7), "ks": (1, 2)}, "since": datetime(2024, 5, 1), "table": Path("a.csv"),
        "images": "photos",
    }  # fmt: skip
    made = Shop().ask(**given)
    assert made["session"] == ["a", "b"]
    assert (made["k"], type(made["k"])) == (3, int)
    assert (made["near"], made["seen"], made["config"]) == (0.5, True, {"seed": 7, "ks": (1, 2)})
    assert made["since"] == datetime(2024, 5, 1, tzinfo=UTC)
    assert (str(made["table"]), str(made["options"]["images"])) == ("a.csv", "photos")
    assert Shop().ask(session=pl.Series(["a"]))["session"] == ["a"]
    assert Shop().ask(near=1)["near"] == 1
    assert Shop().compare("a", "b") == ("a", "b")


def test_every_public_method_of_a_workspace_has_a_door(tmp_path: Path) -> None:
    def methods(thing: type) -> Iterator[Any]:
        yield from (made for name, made in vars(thing).items() if callable(made) and not name.startswith("_"))

    with open_workspace(environ={}, workspace=tmp_path / "shop", create=True) as ws:
        nouns = (
            "domain",
            "data",
            "hub",
            "spoke",
            "index",
            "rerank",
            "evaluate",
            "quality",
            "rules",
            "gate",
            "experiments",
        )
        for thing in (Workspace, *(type(getattr(ws, noun)) for noun in (*nouns, "lineage", "bundle"))):
            for method in methods(thing):
                assert _kinds(method.__wrapped__) is not None
        wrong: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = [
            (ws.recommend, ("garden",), {"session": "12"}),
            (ws.launch, ("x", [1]), {}),
            (ws.domain.add, ("garden",), {"items": 5}),
            (ws.backup, (5,), {}),
            (ws.backup, ("",), {}),
            (ws.data.diff, (1, 2), {}),
            (ws.hub.train, (), {"config": "tiny"}),
            (ws.spoke.train, ("garden",), {"configg": {}}),
            (ws.index.remove, ("garden", "a"), {}),
            (ws.gate.set, ("garden",), {"minimum": {"ndcg@10": "0.5"}}),
            (ws.rules.set, ("garden", "x"), {}),
            (ws.experiments.start, ("garden", "garden@candidate"), {"window": 5}),
            (ws.lineage.show, (5,), {}),
            (ws.sql, (5,), {}),
            (ws.sql, ("SELECT 1",), {"limit": "5"}),
            (ws.domain.show, ("gar\0den",), {}),
            (ws.gc, (), {"grace": 5}),
        ]
        for method, args, kwargs in wrong:
            with pytest.raises(UsageError, match=r"[.?]$"):
                method(*args, **kwargs)
        assert len(ws.sql("SELECT 1 AS one", limit=np.int64(1)).rows) == 1


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (FileNotFoundError(2, "No such file", "a.csv"), NotFoundError, "a.csv does not exist; check the path."),
        (IsADirectoryError(21, "x", "a"), UsageError, "a is a folder, where a file is needed"),
        (NotADirectoryError(20, "x", "a/b"), UsageError, "a/b leads through a file"),
        (FileExistsError(17, "x", "a"), UsageError, "a is there already and is no folder"),
        (OSError(36, "File name too long", "a" * 300), UsageError, "is longer than a file name may be"),
        (OSError(40, "Too many levels", "a"), UsageError, "a link that leads to itself"),
        (PermissionError(13, "x", "a"), HubspokeError, "a may not be read or written by this user"),
        (OSError(28, "No space left", "a"), HubspokeError, "No space is left on the disk that holds a"),
        (OSError(5, "Input/output error", "a"), HubspokeError, "a: Input/output error; see to it"),
        (OSError("odd"), HubspokeError, "odd; see to it"),
    ],
)
def test_what_the_system_refuses_has_its_sentence(error: OSError, kind: type[HubspokeError], said: str) -> None:
    told = translated(error)
    assert type(told) is kind
    assert said in str(told)

    @door
    def fail() -> None:
        raise error

    with pytest.raises(kind):
        fail()
    assert translated(ValueError("x")) is None


def test_a_method_checks_once(tmp_path: Path) -> None:
    @door
    def outer(call: Any) -> Any:
        return call(k="3")

    assert outer(Shop().ask)["k"] == "3"


def test_a_workspace_is_opened_and_not_made_of_a_path() -> None:
    with pytest.raises(UsageError, match=r"open one with `hubspoke\.open"):
        Workspace(".")  # type: ignore[arg-type]


def test_threads_that_meet_the_door_for_the_first_time_at_once_do_not_parse_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inside, most, parse = 0, 0, ast.parse

    def watched(source: str) -> Any:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        Event().wait(0.005)  # where nothing holds them back, the others come in meanwhile
        found = parse(source)
        inside -= 1
        return found

    _kinds.cache_clear()
    functions = [inspect.unwrap(own) for own in vars(Domains).values() if hasattr(own, "__wrapped__")]
    with monkeypatch.context() as patch, ThreadPoolExecutor(4) as pool:
        patch.setattr(ast, "parse", watched)
        found = [*pool.map(lambda _: [_kinds(own) for own in functions], range(4))]
    assert most == 1 and found[0] and all(own == found[0] for own in found)
