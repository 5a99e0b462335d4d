"""A domain's data as models take it."""

from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock

import polars as pl
from hubspoke.catalog.sessions import SessionSettings
from hubspoke.catalog.snapshots import read_snapshot
from hubspoke.errors import CorruptArtifactError, InvalidDataError, NotFoundError, UsageError
from hubspoke.workflows.datasets import image_paths, load_dataset, require_sessions
from hubspoke.workflows.workspace import Workspace


def test_sequences_speak_of_item_rows(garden: Workspace, files: Any) -> None:
    dataset = load_dataset(garden, "garden")
    assert dataset.items["item_id"].to_list() == ["rose", "fern", "spade", "pot"]
    assert [s.tolist() for s in dataset.sequences] == [[0, 1, 3], [0, 3, 1]]
    assert dataset.sequences.user_ids == ("ann", "bob")
    assert (dataset.session_mode, dataset.waterfall[0]["rows_in"]) == ("gap", 9)
    assert dataset.event_snapshot.ref == "snapshot:garden/events/1"
    # Events can be left out and chosen.
    assert len(load_dataset(garden, "garden", with_events=False).sequences) == 0
    garden.data.ingest("garden", events=files.events, until=datetime(2024, 5, 2, tzinfo=UTC))
    assert len(load_dataset(garden, "garden").sequences) == 1
    assert len(load_dataset(garden, "garden", events="snapshot:garden/events/1").sequences) == 2
    # Without events the sequences are empty.
    garden.domain.add("bare", files.items)
    dataset = load_dataset(garden, "bare")
    assert (len(dataset.sequences), dataset.sequences.n_items, dataset.session_mode) == (0, 4, "none")
    assert (len(dataset.sequences.by_user()), dataset.sequences.item_counts().tolist()) == (0, [0, 0, 0, 0])


def test_what_cannot_be_loaded_says_what_to_do(garden: Workspace, refused: Any) -> None:
    garden.domain.add("empty")
    for domain, items, error, sentence in (
        ("empty", None, NotFoundError, "hubspoke data ingest empty --items FILE"),
        ("pots", None, NotFoundError, "no domain 'pots'"),
        ("garden", "snapshot:garden/events/1", UsageError, "holds events of garden"),
        ("garden", "snapshot:garden/items/9", NotFoundError, "snapshot:garden/items/9"),
        ("garden", "snapshot:garden", UsageError, "not a reference"),
    ):
        refused(error, sentence, load_dataset, garden, domain, items=items)


def test_events_that_are_all_in_short_sessions_are_told_with_the_remedy(garden: Workspace, refused: Any) -> None:
    days = [datetime(2024, 6, day, 9 + day, tzinfo=UTC) for day in (1, 2, 3)]
    events = pl.DataFrame({"user_id": ["ann"] * 3, "item_id": ["rose", "fern", "pot"], "timestamp": days})
    garden.data.ingest("garden", events=events)
    said = "garden has events but no session: every session is shorter than 3 items; --sessions per_user takes all"
    refused(InvalidDataError, said, require_sessions, load_dataset(garden, "garden"))
    refused(InvalidDataError, said, garden.evaluate.compare, "garden", ["popularity"])
    garden.data.ingest("garden", events=events, sessions=SessionSettings(mode="per_user"))
    require_sessions(load_dataset(garden, "garden"))


def test_events_on_products_that_left_the_catalog_are_left_out(garden: Workspace, files: Any, refused: Any) -> None:
    fewer = "item_id,title\nrose,Red rose\nfern,Green fern\npot,Clay pot\n"
    garden.data.ingest("garden", files.write("fewer.csv", fewer))
    dataset = load_dataset(garden, "garden")
    step = {"name": "events on items outside the catalog left out", "rows_in": 9, "rows_out": 8}
    assert dataset.waterfall[0] == {**step, "sessions": None, "users": None}
    assert [s.tolist() for s in dataset.sequences] == [[0, 1, 2], [0, 2, 1]]
    garden.data.ingest("garden", pl.DataFrame({"item_id": ["oak"], "title": ["Oak"]}))
    refused(InvalidDataError, "None of the 9 events", load_dataset, garden, "garden")


def test_pictures_are_paths_in_item_order_none_of_them_changed_or_gone(garden: Any, files: Any, refused: Any) -> None:
    dataset = load_dataset(garden, "garden", with_events=False)
    assert image_paths(dataset) == [[files.folder / "rose.png"], [], [files.folder / "spade.png"], []]
    (files.folder / "rose.png").write_bytes((files.folder / "spade.png").read_bytes())
    refused(InvalidDataError, "has changed since it was ingested", image_paths, dataset)
    (files.folder / "rose.png").unlink()
    refused(InvalidDataError, "cannot be read", image_paths, dataset)
    # Pictures that nobody looked at do not count.
    garden.domain.add("unseen", pl.DataFrame({"item_id": ["a"], "title": ["A"], "image": ["a.png"]}))
    assert image_paths(load_dataset(garden, "unseen")) == [[]]


def test_data_are_read_once_and_checked_every_time(garden: Workspace, monkeypatch: Any, refused: Any) -> None:
    read = Mock(wraps=read_snapshot)
    monkeypatch.setattr("hubspoke.workflows.datasets.read_snapshot", read)
    first, again = load_dataset(garden, "garden"), load_dataset(garden, "garden")
    assert read.call_count == 2  # items and events
    assert again.items is first.items and again.sequences is first.sequences
    garden.data.ingest("garden", sessions=SessionSettings(mode="per_user", min_length=1))
    assert len(load_dataset(garden, "garden").sequences) == 3 and read.call_count == 3
    (read.call_args_list[0].args[0] / "data.parquet").write_bytes(b"no table")
    refused(CorruptArtifactError, "data ingest garden --items FILE", load_dataset, garden, "garden")
