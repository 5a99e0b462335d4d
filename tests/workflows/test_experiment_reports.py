"""What an experiment says: by hand on a handful of shoppers, on many, on none, and as a log of impressions."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import hypot, sqrt
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hubspoke.catalog.actions import ACTION_SCHEMA
from hubspoke.catalog.exposures import EXPOSURE_SCHEMA, Exposure
from hubspoke.catalog.line_log import LineLog
from hubspoke.catalog.shopper_events import read_event
from hubspoke.errors import QualityGateError, UsageError
from hubspoke.evaluation.experiments import is_treated
from hubspoke.registry.records import ExperimentRecord
from hubspoke.workflows.shopper_outcomes import Outcomes
from hubspoke.workflows.workspace import Workspace
from hypothesis import given
from hypothesis import strategies as st

CONTROL, CANDIDATE = "release:garden/1", "release:garden/2"
HOUR = timedelta(hours=1)
NOW = datetime.now(UTC)
START = NOW - timedelta(days=2)
Row = tuple[str, str, float, dict[str, Any]]


class Shop:
    """A workspace with an experiment on garden, and who saw and did what there, in minutes after `START`."""

    def __init__(self, ws: Workspace, **how: Any) -> None:
        self.ws = ws
        self.own = ws.experiments.start("garden", CANDIDATE, **{"window": HOUR} | how).experiment
        self._lists = LineLog(ws.settings.exposures_dir / "garden")
        self._events = LineLog(ws.settings.events_dir / "garden")

    def shown(self, name: str, shopper: str, minutes: float, items: Sequence[str], **told: Any) -> None:
        treated = told.pop("treated")
        arm, release = ("candidate", CANDIDATE) if treated else ("control", CONTROL)
        share = self.own.share if treated else 1 - self.own.share
        made = {"arm": arm, "release": release, "propensity": share, "experiment": self.own.ref} | told
        at = START + timedelta(minutes=minutes)
        self._lists.append([Exposure(recommendation_id=name, at=at, shopper=shopper, items=tuple(items), **made)])

    def did(self, *rows: Row) -> None:
        """Events of (user, type, minutes after the start, other fields)."""
        for user, kind, minutes, told in rows:
            at = (START + timedelta(minutes=minutes)).isoformat()
            raw = {"user_id": user, "event_type": kind, "timestamp": at, **told}
            self._events.append([read_event(raw, NOW)])

    def report(self, **how: Any) -> Any:
        return self.ws.experiments.report("garden", **how)


@pytest.fixture
def two(two_spokes: Workspace) -> Workspace:
    """garden:1 is live and garden:2 the candidate; rose costs 4.5, fern 7, spade 19.9, pot 3."""
    two_spokes.promote("garden:1")
    two_spokes.promote("garden:2", "candidate")
    return two_spokes


@pytest.fixture
def handful(two: Workspace) -> Shop:
    """ann and bob saw the control, cid, dan and eve the candidate; eve's hour is not over."""
    shop = Shop(two)
    control, candidate = {"treated": False}, {"treated": True}
    shop.shown("r1", "ann", 0, ["rose", "fern"], **control)
    shop.shown("r2", "ann", 10, ["pot"], **control)
    shop.shown("r3", "bob", 5, ["rose", "fern"], **control)
    shop.shown("r4", "cid", 0, ["spade", "pot"], **candidate)
    shop.shown("r5", "dan", 0, ["spade"], **candidate)
    shop.shown("r6", "dan", 61, ["spade"], **candidate)  # after dan's hour
    shop.shown("r7", "eve", (NOW - START).total_seconds() / 60 - 10, ["pot"], **candidate)
    shop.did(
        ("ann", "click", 1, {"item_id": "rose", "recommendation_id": "r1"}),
        ("ann", "view", 2, {"item_id": "rose", "recommendation_id": "r1"}),  # the same product of the same list
        ("ann", "purchase", 5, {"item_id": "rose", "recommendation_id": "r1", "value": 4.0}),
        ("ann", "purchase", 30, {"item_id": "pot", "quantity": 2}),  # 2 x 3 by the catalog's price
        ("ann", "purchase", 60, {"item_id": "fern"}),  # when the hour is over
        ("cid", "purchase", -1, {"item_id": "fern"}),  # before the first list
        ("cid", "purchase", 2, {"item_id": "spade", "recommendation_id": "r4"}),
        ("cid", "click", 3, {"item_id": "rose", "recommendation_id": "r4"}),  # which the list did not hold
        ("dan", "click", 1, {"item_id": "spade", "recommendation_id": "r5"}),
        ("dan", "click", 62, {"item_id": "spade", "recommendation_id": "r6"}),
        ("zoe", "purchase", 1, {"item_id": "rose"}),  # nobody that was shown anything
    )
    return shop


def numbers(found: Any) -> dict[str, tuple[float | None, float | None]]:
    return {row.metric: (row.control, row.candidate) for row in found.metrics}


def test_a_handful_by_hand(handful: Shop) -> None:
    found = handful.report()
    counts = [(arm.arm, arm.shoppers, arm.counted, arm.lists, arm.impressions, arm.elsewhere) for arm in found.arms]
    assert counts == [("control", 2, 2, 3, 5, 0), ("candidate", 3, 2, 2, 3, 0)]
    assert (found.waiting, found.mixed, found.splitting, found.live) == (1, 0, True, CONTROL)
    assert found.mismatch_p == pytest.approx(0.6547, abs=1e-4) and found.sound
    assert numbers(found) == {
        "revenue": (5.0, pytest.approx(9.95)),
        "margin": (None, None),
        "purchases": (1.0, 0.5),
        "buyers": (0.5, 0.5),
        "clicks": (0.5, 0.5),
        "click_rate": (pytest.approx(1 / 5), pytest.approx(1 / 3)),
        "revenue_per_impression": (pytest.approx(4 / 5), pytest.approx(19.9 / 3)),
        "tail_revenue_share": (None, None),
    }
    revenue = found.deciding
    assert (revenue.metric, revenue.per, revenue.difference) == ("revenue", "shopper", pytest.approx(4.95))
    assert revenue.relative == pytest.approx(0.99)
    reach = 1.959964 * hypot(5, 9.95)  # each arm's standard error is half of its range
    assert revenue.once == (pytest.approx(4.95 - reach), pytest.approx(4.95 + reach))
    assert revenue.always[0] < revenue.once[0] and not revenue.clear
    assert found.metrics[1].reason == "3 of 3 purchases have no known cost or revenue"
    assert found.metrics[-1].reason == "no more than 1,000 products had sold before, so there is no long tail"
    assert (found.outcome, found.verdict) == (
        "early",
        "Too early: the window of 2 shoppers of control and 2 of candidate is over, and 100 of each are the least.",
    )


def test_an_ingest_of_the_log_changes_nothing(handful: Shop) -> None:
    before = handful.report()
    handful.did(("ann", "purchase", 5, {"item_id": "rose", "recommendation_id": "r1", "value": 4.0}))  # sent again
    assert handful.report().metrics == before.metrics
    handful.ws.data.ingest("garden", from_log=True)
    handful.did(("ann", "purchase", 5, {"item_id": "rose", "recommendation_id": "r1", "value": 4.0}))
    after = handful.report()
    assert (after.metrics, after.arms) == (before.metrics, before.arms)
    assert after.events_until == before.events_until == START + timedelta(minutes=62)


def test_the_long_tail_is_what_had_not_sold_best_before(handful: Shop) -> None:
    # A thousand products, spade among them, sold for more than rose did; ann bought it for 4 of 10.
    handful.did(
        *(("zed", "purchase", -9, {"item_id": f"old-{n}", "value": 8.0}) for n in range(998)),
        *(("zed", "purchase", -9, {"item_id": item, "value": 8.0}) for item in ("spade", "pot")),
        ("zed", "purchase", -9, {"item_id": "rose", "value": 7.0}),
    )
    row = handful.report().metrics[-1]
    assert (row.metric, row.per, row.control, row.candidate) == ("tail_revenue_share", "revenue", 0.4, 0.0)


def test_nothing_is_said_of_nobody(two: Workspace) -> None:
    shop = Shop(two)
    found = shop.report()
    assert (found.mismatch_p, found.sound, found.events_until, found.outcome) == (None, None, None, "nothing")
    assert found.verdict == "No list of experiment:garden/1 has been shown yet."
    assert all(row.control is None and row.reason for row in found.metrics)
    with pytest.raises(UsageError, match="no impressions to write yet"):
        shop.report(impressions=two.settings.workspace / "log.parquet")
    shop.shown("r1", "ann", 0, [], treated=False)
    found = shop.report()
    assert (found.outcome, found.deciding.reason) == (
        "early",
        "fewer than two shoppers of control have had their window",
    )
    assert [note.partition(";")[0] for note in found.notes] == [
        "Nothing is known of what shoppers did since the first list"
    ]


def test_lists_of_another_release_are_counted_and_told(handful: Shop) -> None:
    handful.shown("r8", "cid", 3, ["pot"], treated=True, release=CONTROL)
    handful.shown("r9", "fay", 3, ["pot"], treated=True)
    handful.shown("r10", "fay", 4, ["pot"], treated=False)
    (handful.ws.settings.exposures_dir / "garden" / "0.jsonl").write_text("no exposure\n")
    handful.ws.promote("garden:2")
    found = handful.report()
    assert ([arm.elsewhere for arm in found.arms], found.mixed, found.splitting) == ([0, 1], 1, False)
    assert found.notes == (
        "1 lines of the log are no exposures.",
        "release:garden/2 is live, not release:garden/1: shoppers are no longer split. `hubspoke experiment stop "
        "garden` ends it.",
        "1 lists for the candidate were answered by another release than release:garden/2, and count as assigned.",
        "1 shoppers were shown both arms and are left out.",
    )


def test_purchases_that_nobody_priced_are_told(handful: Shop) -> None:
    handful.did(("bob", "purchase", 6, {"item_id": "oak"}))  # which the catalog lacks
    found = handful.report()
    assert numbers(found)["purchases"] == (1.5, 0.5)
    assert numbers(found)["revenue"] == (5.0, pytest.approx(9.95))
    assert found.notes == ("1 purchases have neither a value nor a price in the catalog and count as 0.",)


def test_prices_that_cannot_be_added_are_told_and_the_rest_is_measured(handful: Shop) -> None:
    items = "item_id,title,price,currency\nrose,Red rose,4.5,EUR\nspade,Steel spade,19.9,USD\npot,Clay pot,3,EUR\n"
    catalog = handful.ws.settings.workspace / "priced.csv"
    catalog.write_text(items)
    handful.ws.data.ingest("garden", items=catalog)
    found = handful.report()
    reasons = {row.metric: row.reason for row in found.metrics if row.reason}
    assert set(reasons) == {"revenue", "margin", "revenue_per_impression", "tail_revenue_share"}
    assert "priced in EUR, USD, which cannot be added" in str(found.deciding.reason)
    assert (found.outcome, numbers(found)["purchases"]) == ("unmeasured", (1.0, 0.5))


def test_a_table_without_times_of_day_is_passed_over_and_that_is_said(handful: Shop) -> None:
    before = handful.report()
    days = handful.ws.settings.workspace / "days.csv"
    rows = "".join(f"ann,rose,{(START + timedelta(days=n)).date()},purchase\n" for n in range(2))
    days.write_text(f"user_id,item_id,timestamp,event_type\n{rows}")
    ref = handful.ws.data.ingest("garden", events=days).events.ref
    found = handful.report()
    assert found.notes == (f"{ref} tells no times of day, so nothing of it can be placed in a shopper's window.",)
    assert found.metrics == before.metrics


def crowd(shop: Shop, control: Sequence[float], candidate: Sequence[float], shoppers: int = 400) -> None:
    """Each of some shoppers is shown two products and buys the first for the next of the values of the arm, in turn."""
    turns = {False: 0, True: 0}
    for number in range(shoppers):
        user, treated = f"u{number}", number % 10 < round(10 * shop.own.share)
        values = candidate if treated else control
        value = values[turns[treated] % len(values)]
        turns[treated] += 1
        shop.shown(f"r{number}", user, 0, ["rose", "fern"], treated=treated)
        shop.did((user, "purchase", 1, {"item_id": "rose", "recommendation_id": f"r{number}", "value": value}))


def test_a_clear_winner_is_promoted_with_its_figure(two: Workspace) -> None:
    shop = Shop(two, planned=400)
    crowd(shop, [0.0, 1.0], [2.0, 1.0])
    found = shop.report()
    assert (found.outcome, found.deciding.clear) == ("better", True)
    assert found.verdict.startswith("The candidate is better: revenue per shopper 0.5 to 1.5 (+1, +2")
    planned = two.experiments.promote("garden", dry_run=True)
    assert (planned.promotion.after, planned.experiment.stopped_at) == (CANDIDATE, None)
    made = two.experiments.promote("garden", reason="sells more")
    assert (made.promotion.before, made.promotion.after, made.overruled) == (CONTROL, CANDIDATE, None)
    assert made.experiment.stop_reason == "release:garden/2 was promoted"
    reason = two.history("garden")[-1].reason
    assert reason.startswith("experiment:garden/1: revenue per shopper 0.5 to 1.5") and reason.endswith("; sells more")
    again = two.experiments.promote("garden")
    assert (again.promotion.cached, again.experiment) == (True, made.experiment)


def test_what_was_killed_after_the_promotion_is_repeated(two: Workspace) -> None:
    shop = Shop(two)
    two.promote("garden:2")
    made = two.experiments.promote("garden")
    assert made.promotion.cached and made.experiment.stopped_at is not None
    assert shop.own.ref == made.experiment.ref


def test_what_is_not_clearly_better_is_refused_unless_overruled(two: Workspace, refused: Any) -> None:
    shop, promote = Shop(two), two.experiments.promote
    refused(QualityGateError, "No list of experiment:garden/1 has been shown yet. Wait for more", promote, "garden")
    crowd(shop, [1.0, 2.0], [2.0, 1.0])
    found = shop.report()
    assert found.outcome == "open" and "keep looking, 10,000 shoppers were planned" in found.verdict
    refused(QualityGateError, "No difference is clear: revenue per shopper", promote, "garden")
    refused(UsageError, "needs a reason", promote, "garden", override=True)
    two.rules.set("garden", {"max_per_brand": 3})
    two.promote("garden:1", rules="rules:garden/1")
    refused(QualityGateError, "has compared with release:garden/1", promote, "garden")
    made = promote("garden", override=True, reason="the board wants it")
    assert made.promotion.after == CANDIDATE and "has compared with" in str(made.overruled)
    assert "overruled: release:garden/3 is live" in str(two.history("garden")[-1].reason)


def test_the_gate_stands_in_front_of_an_experiment_too(two: Workspace, refused: Any) -> None:
    crowd(Shop(two, planned=400), [0.0, 1.0], [2.0, 1.0])
    two.gate.set("garden", {"ndcg@10": 0.9})
    refused(QualityGateError, "does not meet the gate of garden@live", two.experiments.promote, "garden")
    assert two.experiments.find("garden").stopped_at is None


def test_a_split_that_is_not_the_one_asked_for_is_unsound(two: Workspace, refused: Any) -> None:
    shop = Shop(two, share=0.1)
    for number in range(300):
        shop.shown(f"r{number}", f"u{number}", 0, ["rose"], treated=number % 2 == 0)
    found = shop.report()
    assert (found.outcome, found.sound) == ("unsound", False)
    assert found.verdict.startswith("The split is unsound: 150 of 300 shoppers saw the candidate, where 0.1 of them")
    refused(QualityGateError, "The split is unsound", two.experiments.promote, "garden")


def test_a_worse_candidate_is_told(two: Workspace) -> None:
    shop = Shop(two, planned=400)
    crowd(shop, [2.0, 1.0], [0.0, 1.0])
    found = shop.report()
    assert (found.outcome, found.verdict.partition(":")[0]) == ("worse", "The candidate is worse")


def test_what_decides_and_is_not_known_is_told(two: Workspace) -> None:
    shop = Shop(two, metric="margin")
    crowd(shop, [2.0], [1.0])
    found = shop.report()
    assert found.outcome == "unmeasured"
    assert "margin decides and cannot be measured: 400 of 400 purchases have no known cost" in found.verdict


def test_its_impressions_are_a_log_for_business_metrics(two: Workspace, tmp_path: Path) -> None:
    shop = Shop(two, share=0.4)
    crowd(shop, [0.0, 1.0], [2.0, 4.0], 1000)
    counted = {arm.arm: arm.counted for arm in shop.report(impressions=tmp_path / "log.parquet").arms}
    table = pl.read_parquet(tmp_path / "log.parquet")
    assert table.height == 2000 and table.columns[:5] == ["user_id", "revenue", "logged", "target", "arm"]
    rows = table.group_by("arm").agg(pl.col("logged").unique(), pl.col("target").unique()).sort("arm").rows()
    assert rows == [("candidate", [0.4], [1.0]), ("control", [0.6], [0.0])]
    card = two.quality.business("garden:2", str(tmp_path / "log.parquet"))
    (row,) = [row for row in card.rows if row.metric == "revenue_per_impression"]
    assert row.value == pytest.approx(float(table.filter(pl.col("arm") == "candidate")["revenue"].mean()))
    assert row.value == pytest.approx(1.5, abs=0.01)
    shop.report(impressions=tmp_path / "log.parquet", target="control")
    card = two.quality.business("garden:1", str(tmp_path / "log.parquet"))
    assert next(row.value for row in card.rows) == pytest.approx(0.25, abs=0.01)
    assert sum(counted.values()) == 1000 and card.n_shoppers == 1000


EXPOSURES = st.lists(
    st.tuples(st.sampled_from("abcde"), st.integers(0, 200), st.lists(st.sampled_from("xyz"), unique=True)), max_size=12
)
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from("abcde"), st.sampled_from(("click", "purchase")), st.integers(0, 200), st.sampled_from("xyz"),
        st.integers(0, 11),
    ),
    max_size=12,
)  # fmt: skip


def outcomes(shown: Sequence[tuple[int, Any]], done: Sequence[Any]) -> Outcomes:
    """Of exposures with their numbers, and of actions; x costs 1, y 2 and z 3."""
    lists = [
        Exposure(
            recommendation_id=f"r{number}",
            at=START + timedelta(minutes=minutes),
            experiment="experiment:garden/1",
            shopper=shopper,
            arm="candidate" if is_treated(shopper, "salt", 0.5) else "control",
            propensity=0.5,
            release=CONTROL,
            items=tuple(items),
        ).model_dump()
        for number, (shopper, minutes, items) in shown
    ]
    told = [
        (None, user, item, START + timedelta(minutes=minutes), kind, None, None, f"r{number}")
        for user, kind, minutes, item, number in done
    ]
    prices = {"item_id": ["x", "y", "z"], "price": [1.0, 2.0, 3.0], "cost": [0.5] * 3, "currency": [None] * 3}
    items = pl.DataFrame(prices, schema_overrides={"currency": pl.String})
    exposures, actions = pl.DataFrame(lists, EXPOSURE_SCHEMA), pl.DataFrame(told, ACTION_SCHEMA, orient="row")
    return Outcomes(exposures, actions, items, HOUR, START + timedelta(minutes=120))


@given(EXPOSURES, ACTIONS, st.randoms(use_true_random=False))
def test_the_order_of_what_was_logged_means_nothing(shown: Any, done: Any, random: Any) -> None:
    numbered = list(enumerate(shown))
    before = outcomes(numbered, done).table.sort("shopper")
    random.shuffle(numbered)
    random.shuffle(done)
    after = outcomes(numbered, done)
    assert after.table.sort("shopper").equals(before)
    # And each of them is what it is for one shopper at a time.
    for user, first, last in after.counted.select("shopper", "first", "last").iter_rows():
        mine = [row for row in done if row[0] == user and row[1] == "purchase"]
        mine = [row for row in mine if first <= START + timedelta(minutes=row[2]) < last]
        own = after.table.filter(pl.col("shopper") == user)
        assert own["purchases"].item() == len(mine)
        assert own["revenue"].item() == pytest.approx(sum("xyz".index(row[3]) + 1 for row in mine))
        assert own["margin"].item() == pytest.approx(own["revenue"].item() - 0.5 * len(mine))
    rows = after.impressions("candidate")
    assert rows.height == after.table["impressions"].sum()
    assert rows["revenue"].sum() == pytest.approx(after.table["listed_revenue"].sum())


def test_the_standard_error_of_a_difference_shrinks_with_the_shoppers(two: Workspace) -> None:
    shop = Shop(two)
    crowd(shop, [0.0, 2.0], [0.0, 2.0])
    low, high = shop.report().deciding.once
    arms = [arm.counted for arm in shop.report().arms]
    spread = 1.959964 * sqrt(sum(1 / n for n in arms))  # a standard deviation of about 1
    assert high - low == pytest.approx(2 * spread, rel=0.02)


def test_an_experiment_is_named_by_its_record(two: Workspace) -> None:
    own = Shop(two).own
    assert isinstance(own, ExperimentRecord)
    assert two.experiments.report(own.ref).experiment == own
