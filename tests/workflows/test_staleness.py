"""What serves and is behind, as `domain show` and the doctor tell it; items missing from an index are counted."""

import shutil
from typing import Any

import pytest
from hubspoke.registry.records import Parent
from hubspoke.workflows.doctor import Finding
from hubspoke.workflows.workspace import Workspace

ITEMS = "snapshot:garden/items"


@pytest.fixture
def live(garden: Workspace, models: Any) -> Workspace:
    """garden with a live release on the newest of everything."""
    models.spoke(models.hub().ref)
    models.index("garden:1")
    garden.promote("garden:1")
    garden.promote("hub:1")
    return garden


def told(ws: Workspace) -> Finding:
    return next(check for check in ws.doctor().checks if check.name == "staleness")


def test_items_missing_from_the_index_are_counted(live: Workspace, files: Any) -> None:
    assert live.domain.show("garden").staleness == ()
    assert (told(live).status, told(live).message) == ("ok", "1 live release, none behind")
    # Two items come, one goes, one changes its title: two are missing from the index.
    newer = files.write("newer.csv", "item_id,title\nrose,Red rose\nfern,Fern\npot,Clay pot\nivy,Ivy\noak,Oak\n")
    live.data.ingest("garden", items=newer)
    found = {f.part: f for f in live.domain.show("garden").staleness}
    assert set(found) == {"hub:1", "index:garden/1"}
    index = found["index:garden/1"]
    assert (index.what, index.has, index.newest) == ("newer items", f"{ITEMS}/1", f"{ITEMS}/2")
    assert index.detail == "items in the newest catalog missing from index:garden/1: 2 of 5"
    assert found["hub:1"].detail == f"4 rows in {ITEMS}/1, 5 rows in {ITEMS}/2"
    finding = told(live)
    assert (finding.status, finding.exit_code) == ("warning", 0)
    assert finding.message == "behind: garden (newer items); see `hubspoke domain show garden`."
    # A catalog whose files are damaged or gone is not counted.
    artifact = live.registry.snapshots.get(f"{ITEMS}/2").artifact
    data = live.artifacts.open(artifact) / "table" / "data.parquet"
    data.chmod(0o644)
    data.write_bytes(b"no table")
    index = next(f for f in live.domain.show("garden").staleness if f.part == "index:garden/1")
    assert index.detail == f"4 rows in {ITEMS}/1, 5 rows in {ITEMS}/2"
    shutil.rmtree(data.parent.parent)
    assert live.domain.show("garden").staleness[0].what == "newer items"
    live.domain.archive("garden")
    assert told(live).message == "nothing is live yet"


def test_the_doctor_names_five_domains_and_counts_the_rest(live: Workspace, files: Any) -> None:
    names = [f"shop{i}" for i in range(6)]
    for name in names:
        live.domain.add(name, files.items)
    begun = live.registry.models.begin("hub", None, "all", {})
    parents = [Parent(f"snapshot:{name}/items/1", "trained_on") for name in names]
    stored = live.artifacts.read(live.registry.snapshots.get(f"{ITEMS}/1").artifact)
    live.registry.models.finish(begun.ref, stored, "s", {}, parents)
    live.promote("hub:2")
    for name in names:
        live.data.ingest(name, items=files.write("newer.csv", "item_id,title\nivy,Ivy\n"))
    assert told(live).message == (
        "behind: garden (newer hub), shop0 (newer items), shop1 (newer items), shop2 (newer items), "
        "shop3 (newer items) and 2 more; see `hubspoke domain show garden`."
    )
