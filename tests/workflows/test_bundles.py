"""Bundles: the same recommendations elsewhere to the last bit, on either database, and no file that was touched."""

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hubspoke.errors import (
    CorruptArtifactError,
    InvalidDataError,
    LockedError,
    NotFoundError,
    QualityGateError,
    UsageError,
)
from hubspoke.workflows import bundle_files
from hubspoke.workflows.bundle_files import Member
from hubspoke.workflows.bundles import file_name
from hubspoke.workflows.datasets import load_dataset
from hubspoke.workflows.indexes import index_of, load_index
from hubspoke.workflows.workspace import Workspace, open_workspace

SESSION = ["lamps-0003", "lamps-0011", "lamps-0003", "lamps-0020"]
Opener = Callable[..., Workspace]


@pytest.fixture
def postgres_url(postgres: Any) -> Iterator[str]:
    url = postgres.create()
    yield url
    postgres.drop(url)


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory, shop_template: Path) -> Iterator[Workspace]:
    """A shop whose live release has been measured; it is only read."""
    folder = tmp_path_factory.mktemp("released")
    shutil.copytree(shop_template, folder / "shop")
    with open_workspace(environ={}, cwd=folder, workspace=folder / "shop", actor="tester") as ws:
        ws.evaluate.run("lamps", "lamps:1")
        yield ws


@pytest.fixture(scope="module")
def bundle(released: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That release in a file."""
    return released.bundle.export("lamps", tmp_path_factory.mktemp("bundle")).file


@pytest.fixture(scope="module")
def small(released: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of one catalog."""
    return released.bundle.export("snapshot:lamps/items/1", tmp_path_factory.mktemp("small")).file


def served(ws: Workspace, ref: str) -> tuple[Any, ...]:
    """What a release answers, and the bits of every vector behind it."""
    answer = ws.recommend(ref, SESSION, k=20)
    loaded = load_index(ws, index_of(ws, ref))
    vectors = loaded.index.vectors()
    rows = np.array([loaded.index.item_ids.index(item) for item in SESSION])
    queries = loaded.spoke.embed_sessions(vectors, [rows], exclude_seen=True)
    similar = ws.similar(ref, SESSION[0], k=5)
    return answer.items, similar.items, loaded.index.item_ids, vectors.tobytes(), queries.tobytes()


def edges(ws: Workspace, ref: str, refs: dict[str, str]) -> set[tuple[Any, ...]]:
    lineage = ws.registry.lineage.upstream(ref)
    return {(refs[e.parent], refs[e.child], e.relation, e.part, e.reason) for e in lineage.edges}


def check_moved(source: Workspace, target: Workspace, loaded: Any, ref: str = "release:lamps/1") -> None:
    """The target serves, knows and has measured what the source does."""
    refs = dict(loaded.refs)
    assert served(target, loaded.ref) == served(source, ref)
    assert edges(source, ref, refs) == edges(target, loaded.ref, {new: new for new in refs.values()})
    for old, new in refs.items():
        if old.startswith("evaluation:"):
            ours, theirs = source.registry.evaluations.get(old), target.registry.evaluations.get(new)
            assert (theirs.metrics, theirs.details, theirs.created_at) == (ours.metrics, ours.details, ours.created_at)
    diagnosis = target.doctor(verify=True)
    found = {check.name: check.status for check in diagnosis.checks}
    assert (diagnosis.exit_code, found["artifacts"], found["leftovers"]) == (0, "ok", "ok")


# ---- there and back ----


def test_a_release_travels_to_postgresql_and_back_to_the_same_bytes(
    released: Workspace, bundle: Path, opened: Opener, postgres_url: str
) -> None:
    production = opened("production", postgres_url)
    there = production.bundle.load(bundle)
    assert (there.ref, there.cached, set(there.created)) == ("release:lamps/1", False, set(there.refs))
    check_moved(released, production, there)
    back = production.bundle.export(there.ref, production.settings.workspace)
    assert back.file.read_bytes() == bundle.read_bytes()
    third = opened("third")
    check_moved(released, third, third.bundle.load(back.file))
    home = released.bundle.load(back.file)
    assert (home.cached, home.created, home.artifacts, home.ref) == (True, (), 0, "release:lamps/1")


def test_numbers_that_are_taken_go_on(
    released: Workspace, bundle: Path, opened: Opener, market: Any, tiny_hub: Any, tiny_spoke: Any
) -> None:
    other = opened("other")
    other.domain.add("lamps", market["mugs"].items, market["mugs"].events)
    other.hub.train(domains=[], config={**tiny_hub, "recent_events": 3})
    other.spoke.train("lamps", config=tiny_spoke)
    before = other.recommend("lamps", ["mugs-0001"])
    loaded = other.bundle.load(bundle)
    assert loaded.refs == {
        "domain:lamps": "domain:lamps",
        "snapshot:lamps/items/1": "snapshot:lamps/items/2",
        "snapshot:lamps/events/1": "snapshot:lamps/events/2",
        "hub:1": "hub:2",
        "lamps:1": "lamps:2",
        "index:lamps/1": "index:lamps/2",
        "evaluation:lamps/1": "evaluation:lamps/1",
        "release:lamps/1": "release:lamps/2",
    }
    check_moved(released, other, loaded)
    assert loaded.promotion is None
    assert other.recommend("lamps", ["mugs-0001"]) == before
    assert other.index.check("index:lamps/2").ok
    again = other.bundle.load(bundle)
    assert (again.cached, again.refs, again.created) == (True, loaded.refs, ())
    moved = other.bundle.load(bundle, alias="live", reason="from staging").promotion
    assert moved is not None
    assert (moved.before, moved.after, moved.hub) == ("release:lamps/1", "release:lamps/2", "hub:2")
    assert other.history("lamps")[-1].reason == "from staging"
    assert served(other, "lamps") == served(released, "lamps")


def test_the_same_catalog_is_one_snapshot(released: Workspace, bundle: Path, opened: Opener, market: Any) -> None:
    other = opened("other")
    other.domain.add("lamps", market["lamps"].items, market["lamps"].events)
    loaded = other.bundle.load(bundle)
    assert not [ref for ref in loaded.created if ref.startswith(("snapshot", "domain"))]
    check_moved(released, other, loaded)
    user = str(load_dataset(released, "lamps").sequences.user_ids[0])
    ours, theirs = (ws.recommend("release:lamps/1", user=user) for ws in (released, other))
    assert ours.items == theirs.items


def test_a_store_on_s3_is_filled_and_emptied_alike(
    released: Workspace, bundle: Path, opened: Opener, s3_url: str
) -> None:
    cloud = opened("cloud", artifacts=f"{s3_url}/shop")
    loaded = cloud.bundle.load(bundle)
    shutil.rmtree(cloud.settings.artifacts_dir)  # the read copies
    check_moved(released, cloud, loaded)
    again = cloud.bundle.export("release:lamps/1", cloud.settings.workspace)
    assert again.file.read_bytes() == bundle.read_bytes()
    assert cloud.bundle.load(bundle).cached


def test_a_damaged_artifact_is_mended(released: Workspace, bundle: Path, opened: Opener) -> None:
    other = opened("other")
    other.bundle.load(bundle)
    hub = other.registry.models.get("hub:1")
    damaged = next(path for path in other.artifacts.path(str(hub.artifact)).iterdir() if path.name != "artifact.json")
    damaged.write_bytes(b"\0")
    lost = other.artifacts.path(other.registry.indexes.get("index:lamps/1").artifact)
    shutil.rmtree(lost)
    mended = other.bundle.load(bundle)
    assert (mended.cached, mended.created, mended.artifacts) == (False, (), 2)
    check_moved(released, other, mended)


# ---- the file ----


def test_a_release_gives_the_same_bytes_and_says_what_they_are(
    released: Workspace, bundle: Path, tmp_path: Path
) -> None:
    made = released.bundle.export("release:lamps/1", tmp_path / "again")
    content = (tmp_path / "again").read_bytes()
    assert content == bundle.read_bytes()
    assert made.sha256 == hashlib.sha256(content).hexdigest()
    assert (made.bytes, made.ref, made.dry_run) == (len(content), "release:lamps/1", False)
    kinds = ("domain", "evaluation", "event_snapshot", "hub", "index", "item_snapshot", "release", "spoke")
    assert made.nodes == dict.fromkeys(kinds, 1)
    assert made.artifacts == 5 + bool(released.registry.evaluations.get("evaluation:lamps/1").artifact)
    assert any("data of shoppers" in note for note in made.notes)
    assert (tmp_path / "again").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_a_dry_run_writes_nothing(released: Workspace, bundle: Path, opened: Opener, tmp_path: Path, tree: Any) -> None:
    planned = released.bundle.export("lamps", tmp_path / "out", dry_run=True)
    assert (planned.bytes, planned.sha256) == (bundle.stat().st_size, None)
    assert not (tmp_path / "out").exists()
    other = opened("other")
    before = tree(tmp_path)
    said = other.bundle.load(bundle, alias="live", dry_run=True)
    assert (said.ref, said.artifacts > 0, said.promotion, said.cached) == ("release:lamps/1", True, None, False)
    assert tree(tmp_path) == before
    done = other.bundle.load(bundle)
    assert (done.refs, done.created, done.artifacts) == (said.refs, said.created, said.artifacts)
    would = other.bundle.load(bundle, alias="live", dry_run=True).promotion
    assert would is not None
    assert (would.after, would.dry_run) == ("release:lamps/1", True)
    assert other.registry.aliases.list() == []


def test_a_file_that_is_there_is_not_replaced_unasked(released: Workspace, tmp_path: Path) -> None:
    first = released.bundle.export("snapshot:lamps/items/1", tmp_path)
    assert first.file.name == "lamps-items-1.hubspoke"
    with pytest.raises(UsageError, match=r"lamps-items-1.hubspoke is there already; .* --force"):
        released.bundle.export("snapshot:lamps/items/1", tmp_path)
    assert released.bundle.export("snapshot:lamps/items/1", tmp_path, force=True).sha256 == first.sha256
    with pytest.raises(NotFoundError, match="There is no folder"):
        released.bundle.export("lamps", tmp_path / "no" / "where")


def test_a_file_is_named_after_its_node() -> None:
    for ref, name in (
        ("release:garden/2", "garden-release-2"),
        ("snapshot:garden/items/3", "garden-items-3"),
        ("index:garden/12", "garden-index-12"),
        ("hub:4", "hub-4"),
        ("domain:garden", "domain-garden"),
    ):
        assert file_name(ref) == f"{name}.hubspoke"


def test_damage_in_the_store_is_not_bundled(shop: Workspace, tmp_path: Path) -> None:
    folder = shop.artifacts.path(shop.registry.indexes.get("index:lamps/1").artifact)
    next(path for path in folder.iterdir() if path.name != "artifact.json").write_bytes(b"\0")
    with pytest.raises(CorruptArtifactError, match="no longer matches its checksum"):
        shop.bundle.export("lamps", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_row_that_is_no_json_is_told(shop: Workspace, tmp_path: Path) -> None:
    shop.registry.domains.set_settings("lamps", {"share": float("nan")})
    with pytest.raises(InvalidDataError, match="cannot be written as JSON"):
        shop.bundle.export("lamps", tmp_path / "out")


def test_folders_of_pictures_go_with_the_snapshots_that_travel(shop: Workspace, opened: Opener, tmp_path: Path) -> None:
    roots = {"snapshot:lamps/items/1": "/here", "snapshot:lamps/items/9": "/there"}
    shop.registry.domains.set_settings("lamps", {"sessions": {"mode": "gap"}, "image_roots": roots})
    file = shop.bundle.export("lamps", tmp_path / "out").file
    other = opened("other")
    assert [note for note in other.bundle.load(file).notes if "settings" in note] == []
    settings = other.registry.domains.get("lamps").settings
    assert settings == {"sessions": {"mode": "gap"}, "image_roots": {"snapshot:lamps/items/1": "/here"}}
    other.registry.domains.set_settings("lamps", {"sessions": {"mode": "per_user"}})
    assert [note for note in other.bundle.load(file).notes if "settings" in note] == [
        "The settings of lamps here differ from those in the bundle, and are kept."
    ]
    assert other.registry.domains.get("lamps").settings == {"sessions": {"mode": "per_user"}}


# ---- aliases ----


def test_an_alias_that_cannot_point_at_it_is_told_first(small: Path, opened: Opener, tree: Any) -> None:
    other = opened("other")
    before = tree(other.settings.workspace)
    with pytest.raises(UsageError, match=r"snapshot:lamps/items/1 of the bundle cannot serve, .* leave out --alias"):
        other.bundle.load(small, alias="live")
    with pytest.raises(UsageError, match="cannot be an alias"):
        other.bundle.load(small, alias="LIVE")
    assert tree(other.settings.workspace) == before


def test_the_gate_of_where_it_comes_to_judges_by_the_evaluations_that_came_along(bundle: Path, opened: Opener) -> None:
    other = opened("other")
    other.registry.domains.add("lamps")
    other.gate.set("lamps", {"ndcg@10": 0.999})
    with pytest.raises(QualityGateError, match=r"ndcg@10 is 0\.\d+, below 0\.999 \(evaluation:lamps/1\)") as caught:
        other.bundle.load(bundle, alias="live")
    assert caught.value.exit_code == 3
    assert other.registry.aliases.list() == []
    assert other.registry.releases.get("release:lamps/1").spoke == "lamps:1"
    other.gate.set("lamps", {"ndcg@10": 0.0})
    moved = other.bundle.load(bundle, alias="live").promotion
    assert moved is not None
    assert moved.after == "release:lamps/1"


def test_a_move_that_is_refused_leaves_the_content(
    bundle: Path, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = opened("other")

    def refuse(*_: Any, **__: Any) -> Any:
        raise LockedError("lamps@live has moved; repeat the command.")

    monkeypatch.setattr(type(other.registry.aliases), "promote", refuse)
    with pytest.raises(LockedError):
        other.bundle.load(bundle, alias="live")
    assert other.registry.aliases.list() == []
    assert other.bundle.load(bundle).cached


# ---- other files than expected ----


def test_another_file_than_the_one_expected_is_refused(small: Path, bundle: Path, opened: Opener) -> None:
    other = opened("other")
    wanted = hashlib.sha256(small.read_bytes()).hexdigest()
    with pytest.raises(InvalidDataError, match=rf"has SHA-256 [0-9a-f]{{64}}, not {wanted}; copy it again"):
        other.bundle.load(bundle, sha256=wanted)
    assert other.registry.domains.list() == []
    with pytest.raises(UsageError, match="'abc' is no SHA-256"):
        other.bundle.load(small, sha256="abc")
    assert other.bundle.load(small, sha256=f" {wanted.upper()} ").sha256 == wanted


def test_a_file_that_changes_while_it_is_read_is_refused(
    small: Path, opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = opened("other")
    file = shutil.copy(small, tmp_path / "x")
    real = bundle_files.BundleFile.copy

    def swap(self: Any, member: Member, target: Path) -> None:
        real(self, member, target)
        target.write_bytes(target.read_bytes() + b"x")

    monkeypatch.setattr(bundle_files.BundleFile, "copy", swap)
    with pytest.raises(CorruptArtifactError, match="was changed while it was read"):
        other.bundle.load(file)
    assert other.registry.domains.list() == []


# ---- two at once, and kills ----


def test_two_imports_at_once_are_one(released: Workspace, bundle: Path, opened: Opener) -> None:
    first = opened("both")
    folder = first.settings.workspace
    with (
        open_workspace(environ={}, cwd=folder, workspace=folder, actor="tester") as second,
        ThreadPoolExecutor(2) as pool,
    ):
        done = list(pool.map(lambda ws: ws.bundle.load(bundle), [first, second]))
    assert done[0].refs == done[1].refs
    assert len(first.registry.releases.list()) == len(first.registry.models.list("hub")) == 1
    check_moved(released, first, done[0])


STOP_AT = Path(__file__).with_name("stop_at.py").read_text(encoding="utf-8")


def kill_at(place: str, nth: int, *arguments: str | Path) -> None:
    command = [sys.executable, "-c", STOP_AT, place, str(nth), *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "HERE\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("place", "nth"),
    [
        ("hubspoke.registry.artifacts.local:ArtifactStore.commit", 3),  # two artifacts stand, a third is staged
        ("hubspoke.registry.transfer.bundles:BundleStore.place", 2),  # all artifacts stand, no row does
        ("hubspoke.registry.transfer.bundles:_Placing._hang", 2),  # in the middle of the rows
    ],
)
def test_a_killed_import_is_completed_by_the_same_command(
    released: Workspace, bundle: Path, opened: Opener, place: str, nth: int
) -> None:
    other = opened("other")
    kill_at(place, nth, "bundle", "import", bundle, "--workspace", other.settings.workspace)
    assert other.registry.domains.list() == []
    assert other.registry.artifacts.list() == []
    check_moved(released, other, other.bundle.load(bundle))


def test_a_killed_export_leaves_no_file_of_that_name(released: Workspace, bundle: Path, tmp_path: Path) -> None:
    arguments = ["bundle", "export", "lamps", "--output", tmp_path / "out", "--workspace", released.settings.workspace]
    kill_at("hubspoke.workflows.bundle_files:_checked", 4, *arguments)
    assert [path.suffix for path in tmp_path.iterdir()] == [".tmp"]
    released.bundle.export("lamps", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == bundle.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
