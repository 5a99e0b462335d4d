"""A small shop in which commands are tried in this process, and what must hold however one ends."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hubspoke.cli import cli
from hubspoke.workflows.workspace import open_workspace
from hypothesis import HealthCheck, settings

CODES = {0, 1, 2, 3, 4, 5, 6, 7, 8}
SECONDS = 60
# These keep what they had done before they failed, and say so: steps of a launch, rows of trainings that failed.
KEEP_STEPS = ("launch", "spoke", "hub", "rerank")
# Their result is a verdict, which the exit code repeats.
VERDICTS = (
    ("doctor",),
    ("gate", "check"),
    ("domain", "validate"),
    ("rules", "check"),
    ("index", "check"),
    ("data", "inspect"),
)
# The suite tries a dozen, the same ones every time; `benchmarks/fuzz.py` raises this and draws others.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
settings.register_profile(
    "fuzz",
    deadline=None,
    max_examples=EXAMPLES or 12,
    derandomize=not EXAMPLES,
    database=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("fuzz")


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it wrote."""

    arguments: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def __str__(self) -> str:
        return f"{self.arguments!r} -> {self.code}\n{self.out[-2000:]}\n{self.err[-4000:]}"


class TooLongError(BaseException):
    """Nothing that fits a small shop takes this long."""


def _too_long(*_: object) -> NoReturn:
    raise TooLongError


class Trial:
    """The shop's folder; it is renewed after every command that changed its registry."""

    def __init__(self, template: Path, folder: Path) -> None:
        self.template, self.folder = template, folder
        self.right: dict[tuple[str, ...], Outcome] = {}  # what commands say of it as it is
        self.renew()
        self.before = self.rows()

    def renew(self) -> None:
        """The shop as it was in the beginning."""
        os.chdir(self.folder.parent)
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.template, self.folder)
        os.chdir(self.folder)

    def rows(self) -> str:
        """A hash over every row of every table of both registries."""
        digest = hashlib.sha256()
        for workspace in (".hubspoke", "empty"):
            with closing(sqlite3.connect(self.folder / workspace / "registry.db")) as database:
                tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
                for table in sorted(tables):
                    digest.update(repr(sorted(map(repr, database.execute(f"SELECT * FROM {table}")))).encode())
        return digest.hexdigest()

    def run(self, *arguments: str) -> Outcome:
        """Run a command in this process."""
        out, err = io.StringIO(), io.StringIO()
        signal.signal(signal.SIGALRM, _too_long)
        signal.alarm(SECONDS)
        try:
            with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
                cli.main(list(arguments))
        finally:
            signal.alarm(0)
        return Outcome(arguments, int(ended.value.code or 0), out.getvalue(), err.getvalue())

    def __call__(self, *arguments: str) -> Outcome:
        """Run a command and judge how it ended."""
        outcome = self.run(*arguments)
        self.judge(outcome)
        return outcome

    def judge(self, outcome: Outcome) -> None:
        """The contract: its exit codes, one sentence without the names of exceptions, JSON, nothing half-done."""
        changed = self.rows() != self.before
        if changed:
            self.renew()
        assert outcome.code in CODES, outcome
        assert "Traceback (most recent" not in outcome.out + outcome.err, outcome
        assert "--debug shows the traceback" not in outcome.err, outcome
        judged = any(outcome.arguments[: len(verdict)] == verdict for verdict in VERDICTS)
        if outcome.code:
            assert judged or outcome.err.count("Error: ") >= 1, outcome
            assert not changed or outcome.arguments[0] in KEEP_STEPS, f"changed on failure: {outcome}"
        options = [*takewhile(lambda own: own != "--", outcome.arguments)]  # what follows `--` is no option
        if "--json" in options and "--help" not in options:
            given = outcome.json
            assert outcome.code == 0 or judged or given["error"]["exit_code"] == outcome.code, outcome


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tables, configs, a picture and a workspace: garden has a spoke that is live, pots its hub alone;
    beside it an empty workspace."""
    folder = tmp_path_factory.mktemp("fuzz") / "template"
    folder.mkdir()
    words = ("red rose", "green fern", "clay pot", "steel spade", "garden hose", "white bulb")
    items = [f"i{n},{words[n % 6]} {n},brand {n % 3},{2 + n}" for n in range(12)]
    walks = ((user, step) for user in range(12) for step in range(4))
    events = [f"u{u},i{(u + 5 * s) % 12},2026-05-{1 + u:02d}T10:{3 * s:02d}:00Z" for u, s in walks]
    (folder / "items.csv").write_text("\n".join(["item_id,title,brand,price", *items, ""]), encoding="utf-8")
    (folder / "events.csv").write_text("\n".join(["user_id,item_id,timestamp", *events, ""]), encoding="utf-8")
    spoke = {"transformer": {"dimension": 8}, "min_item_count": 3, "statistics": None}
    training = {"max_epochs": 1, "validate_every": 1, "negatives": 4}
    with open_workspace(create=True, environ={}, cwd=folder, workspace=folder / ".hubspoke", actor="tester") as shop:
        shop.hub.train(domains=[], config={"text": {"name": "tiny"}, "image": None, "contrastive": {"steps": 0}})
        shop.launch("pots", folder / "items.csv")
        shop.domain.add("garden", folder / "items.csv", folder / "events.csv")
        shop.spoke.train("garden", config={**spoke, "training": training}, promote=True)
        shop.rules.set("garden", {"hide_items": ["i1"]})
        shop.bundle.export("garden", folder / "garden.zip")
    open_workspace(create=True, environ={}, cwd=folder, workspace=folder / "empty").close()
    return folder


@pytest.fixture(scope="module")
def shop(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A copy of it, the current folder of this process."""
    here, environment = Path.cwd(), dict(os.environ)
    for name in [name for name in os.environ if name.startswith("HUBSPOKE_")]:
        del os.environ[name]
    yield Trial(template, tmp_path_factory.mktemp("tried") / "shop")
    os.chdir(here)
    os.environ.update(environment)


Try = Callable[..., Outcome]
