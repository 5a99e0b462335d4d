"""Bundles: the same recommendations elsewhere to the last bit, on either database, and no file that was touched."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from hubspoke.errors import CorruptArtifactError, HubspokeError, InvalidDataError, NotFoundError, UsageError
from hubspoke.workflows import bundle_files
from hubspoke.workflows.bundle_files import Member
from hubspoke.workflows.bundles import file_name
from hubspoke.workflows.datasets import load_dataset
from hubspoke.workflows.index_loading import index_of, load_index
from hubspoke.workflows.workspace import Workspace, open_workspace

SESSION = ["lamps-0003", "lamps-0011", "lamps-0003", "lamps-0020"]
Opener = Callable[..., Workspace]


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
    return released.bundle.export("lamps", tmp_path_factory.mktemp("bundle")).file


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


def test_a_release_travels_and_comes_back(released: Workspace, bundle: Path, opened: Opener, postgres: Any) -> None:
    production = opened("production", postgres.create())
    there = production.bundle.load(bundle)
    assert (there.ref, there.cached, set(there.created)) == ("release:lamps/1", False, set(there.refs))
    check_moved(released, production, there)
    back = production.bundle.export(there.ref, production.settings.workspace)
    assert back.file.read_bytes() == bundle.read_bytes()
    third = opened("third")
    check_moved(released, third, third.bundle.load(back.file))
    home = released.bundle.load(back.file)
    assert (home.cached, home.created, home.artifacts, home.ref) == (True, (), 0, "release:lamps/1")


def test_numbers_that_are_taken_go_on(released: Any, bundle: Any, opened: Any, market: Any, tiny_spoke: Any) -> None:
    other = opened("other")
    other.domain.add("lamps", market["mugs"].items, market["mugs"].events)
    other.hub.train(domains=[], config={**released.hub.show().config, "recent_events": 3})
    other.spoke.train("lamps", config=tiny_spoke)
    before = other.recommend("lamps", ["mugs-0001"])
    loaded = other.bundle.load(bundle)
    same = {ref: ref for ref in ("domain:lamps", "evaluation:lamps/1")}
    names = ("snapshot:lamps/items/", "snapshot:lamps/events/", "hub:", "lamps:", "index:lamps/", "release:lamps/")
    assert loaded.refs == same | {f"{name}1": f"{name}2" for name in names}
    check_moved(released, other, loaded)
    assert loaded.promotion is None
    assert other.recommend("lamps", ["mugs-0001"]) == before
    assert other.index.check("index:lamps/2").ok
    again = other.bundle.load(bundle)
    assert (again.cached, again.refs, again.created) == (True, loaded.refs, ())
    moved = other.bundle.load(bundle, alias="live", reason="from staging").promotion
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


def test_a_store_on_s3_is_filled_and_emptied(released: Any, bundle: Path, opened: Opener, s3_url: str) -> None:
    cloud = opened("cloud", artifacts=f"{s3_url}/shop")
    loaded = cloud.bundle.load(bundle)
    shutil.rmtree(cloud.settings.artifacts_dir)  # the read copies
    check_moved(released, cloud, loaded)
    again = cloud.bundle.export("release:lamps/1", cloud.settings.workspace)
    assert again.file.read_bytes() == bundle.read_bytes()
    assert cloud.bundle.load(bundle).cached


def test_two_imports_at_once_are_one_and_damage_is_mended(released: Workspace, bundle: Path, opened: Opener) -> None:
    other = opened("both")
    folder = other.settings.workspace
    with open_workspace(environ={}, cwd=folder, workspace=folder) as second, ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda ws: ws.bundle.load(bundle), [other, second]))
    assert done[0].refs == done[1].refs
    assert len(other.registry.releases.list()) == len(other.registry.models.list("hub")) == 1
    check_moved(released, other, done[0])
    hub = other.registry.models.get("hub:1")
    damaged = next(path for path in other.artifacts.path(str(hub.artifact)).iterdir() if path.name != "artifact.json")
    damaged.write_bytes(b"\0")
    lost = other.artifacts.path(other.registry.indexes.get("index:lamps/1").artifact)
    shutil.rmtree(lost)
    mended = other.bundle.load(bundle)
    assert (mended.cached, mended.created, mended.artifacts) == (False, (), 2)
    check_moved(released, other, mended)


def test_a_release_gives_the_same_bytes_after_a_kill(released: Any, bundle: Any, killed: Any, tmp_path: Any) -> None:
    arguments = ["bundle", "export", "lamps", "--output", tmp_path / "again", "--workspace"]
    killed("hubspoke.workflows.bundle_files:_checked", 4, *arguments, released.settings.workspace)
    assert [path.suffix for path in tmp_path.iterdir()] == [".tmp"]
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
    assert (would.after, would.dry_run) == ("release:lamps/1", True)
    assert other.registry.aliases.list() == []


def test_a_file_that_is_there_is_not_replaced_unasked(released: Workspace, tmp_path: Path, refused: Any) -> None:
    first = released.bundle.export("snapshot:lamps/items/1", tmp_path)
    with pytest.raises(UsageError, match=r"lamps-items-1.hubspoke is there already; .* --force"):
        released.bundle.export("snapshot:lamps/items/1", tmp_path)
    assert released.bundle.export("snapshot:lamps/items/1", tmp_path, force=True).sha256 == first.sha256
    refused(NotFoundError, "There is no folder", released.bundle.export, "lamps", tmp_path / "no" / "where")
    refs = ("release:garden/2", "snapshot:garden/items/3", "index:garden/12", "hub:4", "domain:garden")
    names = ["garden-release-2", "garden-items-3", "garden-index-12", "hub-4", "domain-garden"]
    assert [file_name(ref) for ref in refs] == [f"{name}.hubspoke" for name in names]


def test_what_is_damaged_or_no_json_is_not_bundled(shop: Workspace, tmp_path: Path, refused: Any) -> None:
    shop.registry.domains.set_settings("lamps", {"share": float("nan")})
    refused(InvalidDataError, "cannot be written as JSON", shop.bundle.export, "lamps", tmp_path / "out")
    folder = shop.artifacts.path(shop.registry.indexes.get("index:lamps/1").artifact)
    next(path for path in folder.iterdir() if path.name != "artifact.json").write_bytes(b"\0")
    refused(CorruptArtifactError, "no longer matches its checksum", shop.bundle.export, "lamps", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folders_of_pictures_go_with_the_snapshots_that_travel(shop: Workspace, opened: Opener, tmp_path: Path) -> None:
    roots = {"snapshot:lamps/items/1": "/here", "snapshot:lamps/items/9": "/there"}
    shop.registry.domains.set_settings("lamps", {"sessions": {"mode": "gap"}, "image_roots": roots})
    file = shop.bundle.export("lamps", tmp_path / "out").file
    other = opened("other")
    assert [note for note in other.bundle.load(file).notes if "settings" in note] == []
    settings = other.registry.domains.get("lamps").settings
    assert settings == {"sessions": {"mode": "gap"}, "image_roots": {"snapshot:lamps/items/1": "/here"}}
    other.registry.domains.set_settings("lamps", {"sessions": {"mode": "per_user"}})
    (note,) = [note for note in other.bundle.load(file).notes if "settings" in note]
    assert note == "The settings of lamps here differ from those in the bundle, and are kept."
    assert other.registry.domains.get("lamps").settings == {"sessions": {"mode": "per_user"}}


def test_the_gate_there_judges_by_the_evaluations_that_came_along(bundle: Path, opened: Opener) -> None:
    other = opened("other")
    other.registry.domains.add("lamps")
    other.gate.set("lamps", {"ndcg@10": 0.999})
    with pytest.raises(HubspokeError, match=r"ndcg@10 is 0\.\d+, below 0\.999 \(evaluation:lamps/1\)") as caught:
        other.bundle.load(bundle, alias="live")
    assert caught.value.exit_code == 3
    assert other.registry.aliases.list() == []
    assert other.registry.releases.get("release:lamps/1").spoke == "lamps:1"
    other.gate.set("lamps", {"ndcg@10": 0.0})
    moved = other.bundle.load(bundle, alias="live").promotion
    assert moved.after == "release:lamps/1"


def test_a_move_that_is_refused_leaves_the_content(bundle: Path, opened: Opener, monkeypatch: Any) -> None:
    other = opened("other")
    refuse = Mock(side_effect=HubspokeError("lamps@live has moved; repeat the command."))
    monkeypatch.setattr(type(other.registry.aliases), "promote", refuse)
    with pytest.raises(HubspokeError, match="has moved"):
        other.bundle.load(bundle, alias="live")
    assert other.registry.aliases.list() == []
    assert other.bundle.load(bundle).cached


def test_what_cannot_come_in_is_told_first(small: Path, bundle: Path, opened: Opener, tree: Any, refused: Any) -> None:
    other = opened("other")
    before, wanted = tree(other.settings.workspace), hashlib.sha256(small.read_bytes()).hexdigest()
    for file, options, error, words in (
        (small, {"alias": "live"}, UsageError, r"snapshot:lamps/items/1 of the bundle cannot .* leave out --alias"),
        (small, {"alias": "LIVE"}, UsageError, "cannot be an alias"),
        (bundle, {"sha256": wanted}, InvalidDataError, rf"has SHA-256 [0-9a-f]{{64}}, not {wanted}; copy it again"),
        (small, {"sha256": "abc"}, UsageError, "'abc' is no SHA-256"),
    ):
        refused(error, words, other.bundle.load, file, **options)
        assert tree(other.settings.workspace) == before
    assert other.bundle.load(small, sha256=f" {wanted.upper()} ").sha256 == wanted


def test_a_file_that_changes_while_it_is_read(small: Path, opened: Opener, tmp_path: Path, monkeypatch: Any) -> None:
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


PLACES = [
    ("hubspoke.registry.artifacts.local:ArtifactStore.commit", 3),  # two artifacts stand, a third is staged
    ("hubspoke.registry.transfer.bundles:BundleStore.place", 2),  # all artifacts stand, no row does
    ("hubspoke.registry.transfer.bundles:_Placing._hang", 2),  # in the middle of the rows
]


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_a_killed_import_is_repeated(released: Any, bundle: Path, opened: Opener, killed: Any, place: Any) -> None:
    other = opened("other")
    killed(*place, "bundle", "import", bundle, "--workspace", other.settings.workspace)
    assert other.registry.domains.list() == other.registry.artifacts.list() == []
    check_moved(released, other, other.bundle.load(bundle))
