"""What every training shares: the recipe that tells it from others, the row and the artifact that it leaves."""

from __future__ import annotations

import hashlib
import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from ..errors import HubspokeError, UsageError
from ..registry.kinds import ModelKind
from ..registry.records import ModelPart, ModelRecord, Parent
from ..results import Record, fingerprint
from ..version import __version__

if TYPE_CHECKING:
    from ..hub.parts import Part
    from ..registry.locks import Lock
    from .context import Context

Config = TypeVar("Config", bound=BaseModel)

# Part of every fingerprint: raised when the same inputs and config would give another model.
RECIPE = 2
# Status of what a process returns that trained along with the first one of several.
FOLLOWED = "followed"


@dataclass(frozen=True)
class ModelResult(Record):
    """A hub, spoke or re-ranker version that a training made, or found made already."""

    ref: str | None  # None in a dry run
    version: int | None
    cached: bool  # whether the same inputs and config had made it before
    status: str  # `ready`, or `planned` in a dry run
    seconds: float  # that this call took
    summary: Mapping[str, Any]  # what the training found
    table: Sequence[Mapping[str, Any]] = ()  # rows behind a choice, such as quality on held-out domains
    index: str | None = None  # index version that was built along, if any
    release: str | None = None  # that serves from now on, if this call promoted one


@dataclass(frozen=True)
class Recipe:
    """What decides a model: its kind, its domain, its config and what it is made from."""

    kind: ModelKind
    domain: str | None
    config: Mapping[str, Any]
    inputs: Mapping[str, Any]
    seed: int

    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything above: equal recipes make equal models."""
        return fingerprint({"recipe": RECIPE, "kind": self.kind, "config": self.config, "inputs": self.inputs})


@dataclass(frozen=True)
class Trained:
    """What a training hands over to be stored."""

    save: Callable[[Path], None]  # writes it into an empty folder
    space_fingerprint: str  # of its item embeddings
    summary: Mapping[str, Any]
    parents: Sequence[Parent]  # versions it was made from
    parts: Sequence[ModelPart] = ()
    seconds_before: float = 0.0  # of earlier processes that were killed, up to where this one went on


def train_once(
    context: Context,
    recipe: Recipe,
    train: Callable[[], Trained],
    *,
    checkpoints: Path | None = None,
    force: bool,
    dry_run: bool,
) -> ModelResult:
    """The version that `recipe` makes: found if it was made before, trained, stored and recorded otherwise.

    A training that fails leaves a row that says why; one that is killed leaves a row that the repeated command takes
    over. Nobody else trains the same scope meanwhile: whose lock is lost to another process stops with a LockedError.
    The folder `checkpoints` goes when the version is stored.
    """
    started = time.perf_counter()
    known = None if force else _known(context, recipe)
    if known is None and dry_run:
        return ModelResult(None, None, False, "planned", time.perf_counter() - started, {"config": recipe.config})
    if known is None:
        with context.lock(f"train {recipe.domain or 'hub'}") as lock:
            # Whoever held the lock until now may have made it.
            known = None if force else _known(context, recipe)
            if known is None:
                record = _train(context, recipe, train, lock, started)
                if checkpoints:
                    shutil.rmtree(checkpoints, ignore_errors=True)
                return result_of(record, cached=False, seconds=time.perf_counter() - started)
    return result_of(known, cached=True, seconds=time.perf_counter() - started)


def _known(context: Context, recipe: Recipe) -> ModelRecord | None:
    return context.registry.models.find_ready(recipe.kind, recipe.domain, recipe.fingerprint)


def _train(context: Context, recipe: Recipe, train: Callable[[], Trained], lock: Lock, started: float) -> ModelRecord:
    """Train under the lock, and store and record what comes of it."""
    models = context.registry.models
    begun = models.begin(
        recipe.kind, recipe.domain, recipe.fingerprint, recipe.config, recipe.seed, environment(), __version__
    )
    lock.unchanged = partial(models.expect_own, begun)
    try:
        trained = train()
        lock.check()
        with context.stage() as staged:
            trained.save(staged)
            artifact = context.commit(staged, recipe.kind)
        seconds = trained.seconds_before + time.perf_counter() - started
        return models.finish(
            begun.ref,
            artifact,
            trained.space_fingerprint,
            {**trained.summary, "seconds": round(seconds, 2)},
            trained.parents,
            trained.parts,
            trained.seconds_before,
            begun.started_at,
        )
    except (Exception, KeyboardInterrupt) as error:
        # The row may be another process's by now, or out of reach: what happened first is what is told.
        with suppress(HubspokeError):
            models.fail(begun.ref, f"{type(error).__name__}: {error}", begun.started_at)
        raise


def result_of(record: ModelRecord, *, cached: bool, seconds: float) -> ModelResult:
    """A stored version as a result."""
    table = record.summary.get("table", ())
    summary = {key: value for key, value in record.summary.items() if key != "table"}
    return ModelResult(record.ref, record.version, cached, record.status, round(seconds, 2), summary, table)


def parse_config(model: type[Config], given: Mapping[str, Any] | None, what: str) -> Config:
    """A config from plain data."""
    try:
        return model.model_validate(dict(given or {}))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or what}: {e['msg']}" for e in error.errors())
        raise UsageError(f"The {what} config is not usable ({problems}); correct these keys.") from error


def environment() -> dict[str, Any]:
    """What a training ran on, for its record."""

    def installed(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    packages = {
        name: installed(name) for name in ("torch", "transformers", "peft", "faiss-cpu", "faiss-gpu", "xgboost-cpu")
    }
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": packages,
        "code": source_fingerprint(),
    }


def source_fingerprint() -> str:
    """SHA-256 over this package's own sources: tells apart what one version number does not."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for folder in ("catalog", "hub", "spokes", "ranking", "evaluation", "workflows"):
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def model_part(part: Part, hub: str | None = None) -> ModelPart:
    """A part as the registry keeps it; one that was inherited comes from the version `hub`."""
    return ModelPart(part.name, part.fingerprint, part.bytes, part.parameters, hub if part.inherited else None)


def prepare(context: Context) -> None:
    """Cap threads at the cores (or the setting) before anything heavy runs."""
    from ..hub.threads import limit_threads

    limit_threads(context.settings.threads)
