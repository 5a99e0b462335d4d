"""A small registry that these tests share: one domain with data, a hub, a spoke, an index and a release."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from hubspoke.registry.artifacts.manifests import StoredArtifact
from hubspoke.registry.records import IndexRecord, ModelRecord, Parent, ReleaseParts, ReleaseRecord, SnapshotRecord
from hubspoke.registry.store import Registry


def artifact(text: str, kind: str = "test") -> StoredArtifact:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return StoredArtifact(digest, kind, len(text), {"data": digest})


@dataclass(frozen=True)
class Garden:
    """The domain `garden`, made step by step; each `add` step may be repeated for a newer version."""

    registry: Registry

    def snapshot(self, kind: str, content: str = "a") -> SnapshotRecord:
        record, _ = self.registry.snapshots.add("garden", kind, content, 10, artifact(f"{kind}{content}"))
        return record

    def model(self, kind: str, parents: list[Parent], space: str = "s", fingerprint: str | None = None) -> ModelRecord:
        domain = None if kind == "hub" else "garden"
        count = len(self.registry.models.list(kind=kind))
        begun = self.registry.models.begin(kind, domain, fingerprint or f"{kind}{count}", {"layers": 1}, seed=7)
        return self.registry.models.finish(begun.ref, artifact(begun.ref), space, {"parameters": 3}, parents)

    def hub(self) -> ModelRecord:
        return self.model("hub", [Parent("snapshot:garden/items/latest", "trained_on")])

    def spoke(self, hub: str) -> ModelRecord:
        parents = [Parent(hub, "adapted_from"), Parent("snapshot:garden/events/latest", "trained_on")]
        return self.model("spoke", [*parents, Parent(hub, "inherits", "text", "language transfers")])

    def index(self, model: str, space: str = "s") -> IndexRecord:
        count = len(self.registry.indexes.list("garden"))
        return self.registry.indexes.add(
            "garden",
            model,
            "snapshot:garden/items/latest",
            fingerprint=f"index{count}",
            space_fingerprint=space,
            factory="Flat",
            dimension=8,
            metric="inner_product",
            n_items=10,
            artifact=artifact(f"index{count}"),
            seconds=1.5,
        )

    def parts(self, rules: str | None = None) -> ReleaseParts:
        spoke = self.spoke("hub:1")
        return ReleaseParts("hub:1", self.index(spoke.ref).ref, spoke.ref, rules=rules)

    def release(self, **rules: object) -> ReleaseRecord:
        ref = self.registry.rules.add("garden", rules)[0].ref if rules else None
        return self.registry.releases.add("garden", self.parts(ref))[0]

    def reranker(self, spoke: str, space: str = "s") -> ModelRecord:
        return self.model("reranker", [Parent(spoke, "built_from")], space)


@pytest.fixture
def garden(registry: Registry) -> Garden:
    """garden with one snapshot of each kind and hub:1."""
    registry.domains.add("garden", "plants and pots")
    made = Garden(registry)
    made.snapshot("items")
    made.snapshot("events")
    made.hub()
    return made


@pytest.fixture
def stored() -> Callable[..., StoredArtifact]:
    return artifact


StartProcess = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[StartProcess]:
    """Start real Python processes with code and arguments; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(code: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *arguments]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()
