"""What every training shares: the recipe that tells it from others, the row and the artifact that it leaves."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from ..errors import UsageError
from ..registry.kinds import ModelKind
from ..registry.records import ModelPart, ModelRecord, Parent
from ..results import Record, fingerprint
from ..version import __version__

if TYPE_CHECKING:
    from ..hub.parts import Part
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
    context: Context, recipe: Recipe, train: Callable[[], Trained], *, force: bool, dry_run: bool
) -> ModelResult:
    """The version that `recipe` makes: found if it was made before, trained, stored and recorded otherwise.

    A training that fails leaves a row that says why; one that is killed leaves a row that the repeated command takes
    over. Nobody else trains the same scope meanwhile.
    """
    started = time.perf_counter()
    known = None if force else context.registry.models.find_ready(recipe.kind, recipe.domain, recipe.fingerprint)
    if known is not None:
        return result_of(known, cached=True, seconds=time.perf_counter() - started)
    if dry_run:
        return ModelResult(None, None, False, "planned", time.perf_counter() - started, {"config": recipe.config})
    with context.lock(f"train {recipe.domain or 'hub'}"):
        record = context.registry.models.begin(
            recipe.kind, recipe.domain, recipe.fingerprint, recipe.config, recipe.seed, environment(), __version__
        )
        try:
            trained = train()
            with context.stage() as staged:
                trained.save(staged)
                artifact = context.commit(staged, recipe.kind)
            seconds = time.perf_counter() - started
            summary = {**trained.summary, "seconds": round(trained.seconds_before + seconds, 2)}
            record = context.registry.models.finish(
                record.ref,
                artifact,
                trained.space_fingerprint,
                summary,
                trained.parents,
                trained.parts,
                trained.seconds_before,
            )
        except (Exception, KeyboardInterrupt) as error:
            context.registry.models.fail(record.ref, f"{type(error).__name__}: {error}")
            raise
    return result_of(record, cached=False, seconds=seconds)


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
