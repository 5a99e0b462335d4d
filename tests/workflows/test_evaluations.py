"""Evaluations: the numbers of a hand call, the JSON contract, and the refusal of whatever has seen the test."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hubspoke.catalog.sessions import SessionSettings
from hubspoke.errors import InvalidDataError, NotFoundError, QualityGateError, UsageError
from hubspoke.evaluation.bootstrap import mean_interval
from hubspoke.evaluation.comparison import compare
from hubspoke.evaluation.evaluate import Evaluation, evaluate
from hubspoke.evaluation.protocols import Protocol, evaluation_set, leave_one_out, training_mask
from hubspoke.evaluation.user_values import FILE, read_user_values
from hubspoke.hub.reading import recency_weighted
from hubspoke.spokes.baselines.item_to_item import ItemToItem
from hubspoke.spokes.baselines.popularity import Popularity
from hubspoke.spokes.baselines.recency import RECENCIES
from hubspoke.workflows.datasets import load_dataset, no_sequences
from hubspoke.workflows.evaluations import BASELINES, recommender_of
from hubspoke.workflows.index_loading import load_index
from hubspoke.workflows.loading import over_catalog
from hubspoke.workflows.workspace import Workspace

CUT = datetime(2024, 4, 14, tzinfo=UTC)
FROM_CUT = Protocol(name="temporal", test_from=CUT)


def by_hand(ws: Workspace, model: str, **settings: Any) -> Evaluation:
    """The same evaluation without the workflow: spokes and hubs through their stored index."""
    dataset, protocol = load_dataset(ws, "lamps"), Protocol(**settings)
    users = evaluation_set(dataset.sequences, protocol)
    if model in ("popularity", "item-cf"):
        # Leave-one-out trains on all but the last two events of a user (one with refit).
        sequences = dataset.sequences
        by_user = sequences.by_user()
        mask = np.concatenate([np.arange(n) < n - (1 if protocol.refit else 2) for n in by_user.lengths])
        seen = sequences.keep_events(mask)
        score = Popularity(seen).score if model == "popularity" else ItemToItem(seen.by_user()).score
        return evaluate(score, users)
    loaded = load_index(ws, next(index for index in ws.index.list("lamps") if index.model == model))
    vectors = loaded.index.vectors()
    return evaluate(loaded.spoke.recommender(model, vectors, exclude_seen=protocol.exclude_seen).score, users)


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_the_numbers_are_those_of_a_hand_call(shop: Workspace, exclude_seen: bool) -> None:
    shop.index.build("hub:1", domain="lamps")
    models, protocol = ["popularity", "item-cf", "hub", "lamps"], Protocol(exclude_seen=exclude_seen, ks=(10, 20))
    compared = shop.evaluate.compare("lamps", models, protocol=protocol)
    names = ["popularity", "item-cf", "hub:1", "lamps:1"]
    assert ([result.model for result in compared.results], compared.baseline) == (names, "popularity")
    by_hands = {name: by_hand(shop, name, **protocol.model_dump(include={"exclude_seen", "ks"})) for name in names}
    for result in compared.results:
        expected = by_hands[result.model].to_json()
        for name, metrics in expected["metrics"].items():
            # Diversity takes content, which a hand call is not given; all lists are judged by one content space.
            found = dict(result.metrics[name])
            assert (found.pop("diversity@10", None) is None) == (name != "all")
            assert found == pytest.approx(metrics, abs=1e-9)
        for count in ("n_users", "n_left_out", "n_targets", "protocol"):
            assert getattr(result, count) == expected[count]
        assert (result.domain, result.events, result.note) == ("lamps", "snapshot:lamps/events/1", None)
    kept = shop.registry.evaluations.list("lamps")
    assert [record.ref for record in kept] == [result.evaluation for result in compared.results]
    assert [record.details["content"] for record in kept] == ["hub:1"] * 4

    # The differences are those of users in pairs.
    def differences(rows: Any) -> dict[str, float]:
        asked = ((row, name) for row in rows for name in ("difference", "difference_low", "difference_high"))
        kept = ((row, name) for row, name in asked if row.slice == "all" and row.model != "popularity")
        return {f"{row.model} {row.metric} {name}": getattr(row, name) for row, name in kept}

    expected = differences(compare(by_hands, "popularity", ("ndcg@10", "novelty@10"), ("all",)))
    found = differences(compared.rows)
    assert len(expected) == 18 and {key: found[key] for key in expected} == pytest.approx(expected, abs=1e-9)
    assert shop.evaluate.compare("lamps", ["popularity", "lamps"], baseline="lamps").baseline == "lamps:1"
    assert "diversity@10" not in shop.evaluate.run("lamps", "popularity").metrics["all"]


def test_an_evaluation_is_recorded_with_its_protocol(each_ws: Workspace, market: Any, tiny_hub: Any) -> None:
    each_ws.domain.add("lamps", market["lamps"].items, market["lamps"].events)
    each_ws.hub.train(domains=[], config=tiny_hub)
    result = each_ws.evaluate.run("lamps", "hub", Protocol(ks=(5,), exclude_seen=True))
    record = each_ws.registry.evaluations.list("lamps")[0]
    assert record.ref == result.evaluation == "evaluation:lamps/1"
    assert (record.subject, record.protocol) == ("hub:1", result.protocol)
    assert record.n_users == result.n_users < 60
    # Ten is always measured, whatever was asked for, so that any two evaluations can be compared.
    for name in ("ndcg@5", "ndcg@10"):
        assert record.metric(name).value == pytest.approx(result.metrics["all"][name])
    before = list(each_ws.artifacts.digests())
    assert each_ws.evaluate.run("lamps", "popularity", record=False).evaluation is None
    assert list(each_ws.artifacts.digests()) == before
    assert each_ws.evaluate.run("lamps", "popularity").evaluation == "evaluation:lamps/2"
    assert [kept.subject for kept in each_ws.registry.evaluations.list("lamps")] == ["hub:1", None]


@pytest.mark.parametrize("protocol", [Protocol(), Protocol(name="temporal", test_from=CUT, exclude_seen=True)])
def test_what_each_user_got_is_kept_and_gives_the_report_again(shop: Workspace, protocol: Protocol) -> None:
    result = shop.evaluate.run("lamps", "hub", protocol)
    digest = str(shop.registry.evaluations.get(str(result.evaluation)).artifact)
    file = shop.artifacts.open(digest) / FILE
    for name, metrics in result.metrics.items():
        # Coverage and the Gini coefficient belong to no single user.
        for metric in metrics.keys() - {"coverage@100", "gini@10"}:
            kept = read_user_values(file, name, metric)
            assert float(kept.values.mean()) == metrics[metric]
            estimate = mean_interval(kept.values)
            assert [estimate.low, estimate.high] == result.intervals[name][metric]
    assert shop.registry.artifacts.list()[-1].kind == "evaluation"
    again = shop.evaluate.run("lamps", "hub", protocol)  # equal values are one artifact
    assert shop.registry.evaluations.get(str(again.evaluation)).artifact == digest


def test_a_gate_is_judged_by_the_difference_that_compare_prints(shop: Workspace, tiny_spoke: Any) -> None:
    shop.spoke.train("lamps", config={**tiny_spoke, "seed": 5})
    shop.gate.set("lamps", max_drop={"mrr": 1.0, "cold:hr@10": 1.0})
    with pytest.raises(QualityGateError, match="compare --domain lamps --models lamps:2,lamps:1 --protocol leave-one"):
        shop.promote("lamps:2")
    compared = shop.evaluate.compare("lamps", ["lamps:2", "lamps:1"], baseline="lamps:1")
    rows = {(row.slice, row.metric): row for row in compared.rows if row.model == "lamps:2"}
    for judged in shop.gate.check("lamps", "lamps:2").conditions:
        row = rows[judged.slice, judged.metric]
        expected = (row.difference, row.difference_low, row.difference_high)
        assert (judged.measured, judged.low, judged.high) == expected
    assert shop.promote("lamps:2").spoke == "lamps:2"


def test_every_baseline_has_its_name(shop: Workspace, market: Any) -> None:
    compared = shop.evaluate.compare("lamps", list(BASELINES))
    assert [result.model for result in compared.results] == list(BASELINES)
    ((name, note),) = ((result.model, result.note) for result in compared.results if result.note)
    assert re.fullmatch(r"hub:1, decay [\d.]+ over \d+ events \(chosen on 60 users\)", str(note))
    details = shop.registry.evaluations.list("lamps")[-1].details
    assert (name, details["model"], details["note"]) == ("hub-recency", "hub-recency", note)
    # What is known of the times reaches the baselines: an order without days has no last week.
    ordered = pl.read_csv(market["lamps"].events).with_columns(timestamp=pl.int_range(pl.len()))
    shop.data.ingest("lamps", events=ordered)
    assert "timestamps are an order" in str(shop.evaluate.run("lamps", "popularity-7d").note)


@pytest.mark.parametrize("name", list(BASELINES))
@pytest.mark.parametrize("settings", [{}, {"refit": True}, {"name": "temporal", "test_from": CUT}])
def test_a_planted_test_event_changes_nothing(shop: Workspace, name: str, settings: Any) -> None:
    """Every event after training, moved to another item: the scores of training histories stay what they were."""
    dataset, protocol = load_dataset(shop, "lamps"), Protocol(**settings)
    sequences = dataset.sequences
    tested = ~training_mask(sequences, protocol)
    if name == "hub-recency" and protocol.name == "leave-one-out":
        tested &= ~training_mask(sequences, Protocol(refit=True))  # its choice may see validation, as a spoke's
    assert tested.any()
    planted = replace(sequences, items=np.where(tested, (sequences.items + 7) % sequences.n_items, sequences.items))
    histories = [row[-5:] for row in sequences.keep_events(~tested).by_user()]
    both = [replace(dataset, sequences=given) for given in (sequences, planted)]
    clean, dirty = (recommender_of(shop, name, given, protocol).score(histories) for given in both)
    np.testing.assert_array_equal(clean, dirty)


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_recency_is_chosen_by_the_measure_under_the_policy(shop: Workspace, exclude_seen: bool) -> None:
    """The choice, repeated by hand with every recency on the validation event of each user."""
    dataset = load_dataset(shop, "lamps")
    users = leave_one_out(dataset.sequences, "validation", Protocol(exclude_seen=exclude_seen))
    floor, encoded = over_catalog(shop, shop.registry.models.get("hub:1"), dataset)
    vectors = floor.embed_items(dataset.items["item_id"].to_list(), encoded)
    own = floor.mixture.weights(exclude_seen)
    weighted = vectors * floor.space.modality_weights(own.image_share)
    reached = [
        evaluate(lambda asked, own=own: recency_weighted(vectors, asked, *own) @ weighted.T, users).mean("ndcg@10")
        for own in [(own.recency_decay, own.recent_events), *RECENCIES]
    ]
    assert len(set(reached)) > 3
    chosen = recommender_of(shop, "hub-recency", dataset, Protocol(exclude_seen=exclude_seen))
    assert evaluate(chosen.score, users).mean("ndcg@10") == pytest.approx(max(reached))
    # Without anybody to choose on, the hub keeps its own.
    histories = [np.array([0, 3]), np.array([5])]
    none = replace(dataset, sequences=no_sequences(dataset.items.height))
    made = recommender_of(shop, "hub-recency", none, Protocol())
    own = recommender_of(shop, "hub:1", dataset, Protocol())
    np.testing.assert_array_equal(made.score(histories), own.score(histories))
    assert "no user to choose on" in made.note


def test_what_has_seen_the_test_is_refused(shop: Workspace, tiny_spoke: Any, market: Any, refused: Any) -> None:
    run = shop.evaluate.run
    shop.spoke.train("lamps", config=tiny_spoke, split="all", index=False)
    refused(UsageError, r"lamps:2 has seen events .* --split leave-one-out", run, "lamps", "lamps:2")
    refused(UsageError, r"lamps:2 was trained on events after .* --split temporal", run, "lamps", "lamps:2", FROM_CUT)
    # Of fewer events, or of other sessions, other events are the last, and those were trained on.
    events = pl.read_csv(market["lamps"].events)
    shop.data.ingest("lamps", events=events.sort("timestamp").head(events.height - 20))
    refused(UsageError, "lamps:1 has seen events", run, "lamps", "lamps:1")
    assert run("lamps", "lamps:1", events="snapshot:lamps/events/1").n_users == 60
    assert len(shop.registry.evaluations.list("lamps")) == 1
    shop.data.ingest("lamps", events=events, sessions=SessionSettings(mode="per_user", min_length=5))
    refused(UsageError, "lamps:1 has seen events", run, "lamps", "lamps:1")


def test_a_catalog_that_lost_items_moves_the_test(shop: Workspace, market: Any, tiny_spoke: Any, refused: Any) -> None:
    # Without the last items of some histories, events that were trained on become the last ones.
    run = shop.evaluate.run
    items = pl.read_csv(market["lamps"].items).drop("image")
    more = items[0].with_columns(item_id=pl.lit("lamps-new"))
    shop.data.ingest("lamps", items=pl.concat([items, more]))
    # New items without events change nobody's last event.
    assert run("lamps", "lamps:1").n_users == 60
    dataset = load_dataset(shop, "lamps")
    last = {str(dataset.items["item_id"][int(history[-1])]) for history in dataset.sequences.by_user()}
    shop.data.ingest("lamps", items=items.filter(pl.col("item_id") != min(last)))
    refused(UsageError, "lamps:1 has seen events", run, "lamps", "lamps:1")
    again = shop.spoke.train("lamps", config=tiny_spoke, index=False)
    assert run("lamps", str(again.ref)).model == "lamps:2"


def test_the_temporal_protocol(shop: Workspace, tiny_spoke: Any, refused: Any) -> None:
    run = shop.evaluate.run
    config = {"config": tiny_spoke, "split": "temporal", "test_from": CUT, "index": False}
    trained = shop.spoke.train("lamps", **config)
    result = run("lamps", str(trained.ref), FROM_CUT)
    protocol = result.protocol
    assert (protocol["name"], protocol["test_from"], protocol["refit"]) == ("temporal", "2024-04-14T00:00:00Z", False)
    assert "training before 2024-04-14" in protocol["description"]
    earlier = Protocol(name="temporal", test_from=datetime(2024, 4, 10, tzinfo=UTC))
    refused(UsageError, "after the test window begins", run, "lamps", "lamps:2", earlier)
    choosing = Protocol(name="temporal", part="validation", train_until=earlier.test_from, test_from=CUT)
    refused(UsageError, "after the validation window begins", run, "lamps", "lamps:2", choosing)
    until = FROM_CUT.model_copy(update={"test_until": datetime(2024, 4, 20, tzinfo=UTC)})
    assert run("lamps", "lamps:2", until).n_targets["all"] < result.n_targets["all"]
    never = Protocol(name="temporal", test_from=datetime(2030, 1, 1, tzinfo=UTC))
    refused(InvalidDataError, "anything to be tested on", run, "lamps", "hub", never)


def test_spokes_with_and_without_refit_are_not_mixed(shop: Workspace, tiny_spoke: Any, refused: Any) -> None:
    run = shop.evaluate.run
    refitted = shop.spoke.train("lamps", config=tiny_spoke, refit=True, index=True)
    mixed = ["lamps:1", "lamps:2"]
    refused(UsageError, "Of lamps:1, lamps:2 some were trained with --refit", shop.evaluate.compare, "lamps", mixed)
    compared = shop.evaluate.compare("lamps", ["item-cf", str(refitted.ref)])
    assert compared.protocol["refit"] is True and "refitted on all but test" in compared.protocol["description"]
    # The baseline is then fitted on the validation events too.
    expected = by_hand(shop, "item-cf", refit=True)
    found = {name: value for name, value in compared.results[0].metrics["all"].items() if name != "diversity@10"}
    assert found == pytest.approx(expected.to_json()["metrics"]["all"])
    for refit in (False, True):  # without a spoke the protocol decides
        assert run("lamps", "popularity", Protocol(refit=refit)).protocol["refit"] is refit
    refused(UsageError, "lamps:1 was trained without --refit", run, "lamps", "lamps:1", Protocol(refit=True))
    # A refitted spoke has seen validation, so only others are measured there.
    choosing = Protocol(part="validation")
    assert run("lamps", "lamps:1", choosing).protocol["part"] == "validation"
    refused(UsageError, "lamps:2 was refitted on the validation events", run, "lamps", "lamps:2", choosing)


def test_what_is_wrong_is_told(shop: Workspace, market: Any, refused: Any) -> None:
    run, compare = shop.evaluate.run, shop.evaluate.compare
    refused(UsageError, "nothing to measure", compare, "lamps", [])
    refused(UsageError, "popularity is not among the models", compare, "lamps", ["lamps"], baseline="popularity")
    assert shop.registry.evaluations.list("lamps") == []
    known = r"such as lamps:1, .* hub:1, or one of hub, popularity, popularity-7d"
    for model, words in (("lamps:9", "lamps:9"), ("populairty", known), ("Popularity!", known)):
        refused(NotFoundError, words, run, "lamps", model)
    refused(NotFoundError, "nowhere", run, "nowhere", "hub")
    shop.domain.add("mugs", market["mugs"].items)
    refused(InvalidDataError, "mugs has no events to measure on", run, "mugs", "hub")
    shop.data.ingest("mugs", events=market["mugs"].events)
    refused(UsageError, r"lamps:1 is a spoke of lamps, not of mugs; name one like mugs:1", run, "mugs", "lamps:1")
    shop.promote(str(shop.index.build("hub:1", domain="mugs").ref))
    refused(UsageError, "the hub alone serves", run, "mugs", "mugs")
