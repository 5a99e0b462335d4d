import zlib
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import torch
from hubspoke.catalog.schema import EVENT_SCHEMA
from hubspoke.catalog.sequences import Sequences, build_sequences
from hubspoke.catalog.sessions import SessionSettings, clean_sessions
from hubspoke.evaluation.protocols import Protocol, training_mask
from hubspoke.spokes.config import SpokeConfig, StatisticsConfig
from hubspoke.spokes.features import statistics as module
from hubspoke.spokes.features.items import ItemFeatures
from hubspoke.spokes.features.statistics import ItemStatistics, count_folds, counted_events, user_folds
from hubspoke.spokes.model import BehaviourModel
from hubspoke.spokes.training.loop import train_behaviour
from hypothesis import given, settings
from hypothesis import strategies as st

START = datetime(2024, 4, 1, tzinfo=UTC)
ITEMS = pl.Series("item_id", ["a", "b", "c", "d", "e"])
BLANK = dict.fromkeys(EVENT_SCHEMA)
ANN = [
    ("ann", "a", 0, "view"), ("ann", "a", 1, "cart"), ("ann", "b", 2, "impression"), ("ann", "b", 3, "click"),
    ("ann", "c", 4, "view"), ("ann", "c", 5, "purchase"), ("ann", "d", 6, "view"), ("ann", "d", 7, "purchase"),
    ("ann", None, 8, "search"), ("ann", "a", 9, "impression"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _a_weak_prior(monkeypatch):
    monkeypatch.setattr(module, "PRIOR_STRENGTH", 4.0)


def fit_statistics(events, folds=1, **more):
    return module.statistics_of(count_folds(events, folds), **more)


def table(*rows):
    """Events as (user, item, minutes since the start, type)."""
    full = [
        {**BLANK, "user_id": u, "item_id": i, "timestamp": START + timedelta(minutes=t), "event_type": kind}
        for u, i, t, kind in rows
    ]
    return pl.DataFrame(full, schema=EVENT_SCHEMA)


def sequences_of(events, items=ITEMS, **options):
    options = {"min_length": 1, "mode": "per_user"} | options
    return build_sequences(clean_sessions(events, SessionSettings(**options)).frame, items)


def left(events, protocol=None, until=None, **options):
    whole = sequences_of(events, **options)
    training = whole.keep_events(training_mask(whole, protocol or Protocol()))
    kept = counted_events(events, ITEMS, whole, training, until)
    return [(u, i, kind) for u, i, kind in kept.select("user_id", "item_id", "event_type").iter_rows()]


def test_nothing_from_the_first_held_out_event_on_counts():
    # ann's sequence is a b c d: d is the test, c the validation; the purchases after their views go with them.
    own = [(u, i, kind) for u, i, _, kind in ANN]
    assert left(table(*ANN)) == own[:4]
    assert left(table(*ANN), Protocol(refit=True)) == own[:6]
    # A split in time holds for those without sequences too.
    cut = START + timedelta(minutes=4)
    protocol, until = Protocol(name="temporal", test_from=cut), int(cut.timestamp() * 1_000_000)
    assert [i for _, i, _ in left(table(*ANN, ("dan", "e", 50, "impression")), protocol, until)] == ["a", "a", "b", "b"]


def test_users_of_whom_nothing_is_held_out_count_with_all_they_have():
    short = [("bob", "a", 0, "view"), ("bob", "b", 9, "purchase"), ("cid", "e", 99, "purchase")]
    assert left(table(*short)) == [(u, i, kind) for u, i, _, kind in short]
    # One whose sessions were all too short for training is not tested either.
    assert len(left(table(*short, *ANN), min_length=3)) == 3 + 4
    none = np.zeros(0, np.int64)
    empty = Sequences(none, none, np.zeros(1, np.int64), none, (), 5)
    assert counted_events(table(*ANN), ITEMS, empty, empty).height == len(ANN)


def test_events_are_cut_in_the_order_in_which_sessions_were():
    day = [("ann", item, 0, "view") for item in "abcd"]
    assert left(table(*day)) == [("ann", "a", "view"), ("ann", "b", "view")]
    # The held-out c has a like before it at the same moment: which is which nobody can say, so neither counts.
    assert left(table(*[("ann", item, 0, "view") for item in "acbcd"])) == [("ann", "a", "view")]
    # Positions decide where time does not.
    placed = table(*day[::-1]).with_columns(position=pl.Series([3, 2, 1, 0]))
    assert [item for _, item, _ in left(placed)] == ["a", "b"]
    # Interleaved sessions are cut in time.
    events = table(*[("ann", item, t, "view") for t, item in enumerate("abcdeabc")])
    events = events.with_columns(session_id=pl.Series(["x", "y"] * 4))
    assert [item for _, item, _ in left(events, mode="given")] == list("abcdea")


moments = st.tuples(
    st.sampled_from(["ann", "bob", "cid"]),
    st.one_of(st.none(), st.sampled_from(ITEMS.to_list())),
    st.integers(0, 12),
    st.sampled_from(["view", "click", "cart", "purchase", "impression", "search"]),
)
HELD_OUT = [Protocol(), Protocol(refit=True), Protocol(name="temporal", test_from=START + timedelta(hours=2))]
MODES = st.sampled_from(["per_user", "gap"])


@settings(max_examples=60)
@given(st.lists(moments, max_size=30), st.sampled_from(HELD_OUT), MODES, st.integers(1, 3))
def test_all_before_the_first_held_out_moment_counts_and_nothing_after_it(rows, protocol, mode, min_length):
    rows = [(u, i, 20 * t, "search" if i is None else kind) for u, i, t, kind in rows]
    events = table(*rows).with_row_index("n")
    whole = sequences_of(events, mode=mode, min_length=min_length)
    mask = training_mask(whole, protocol)
    kept = set(counted_events(events, ITEMS, whole, whole.keep_events(mask))["n"])
    users, held = np.repeat(whole.users, whole.lengths), {}
    for user, moment, item in zip(users[~mask], whole.timestamps[~mask], whole.items[~mask], strict=True):
        held.setdefault(whole.user_ids[user], set()).add((int(moment), ITEMS[int(item)]))
    for n, (user, item, minute, _) in enumerate(rows):
        moment = int((START + timedelta(minutes=minute)).timestamp()) * 1_000_000
        first = min(held[user])[0] if user in held else moment + 1
        if moment != first:
            assert (n in kept) == (moment < first)
        # Of the events at that very moment, the held-out ones never count; those before them in the table do.
        assert not (n in kept and (moment, item) in held.get(user, ()))


DAY = 24 * 60
EVENTS = table(
    *[("u", "a", 0, "impression")] * 8, *[("u", "a", 0, "click")] * 2, *[("u", "a", 0, "view")] * 4,
    *[("u", "b", 0, "impression")] * 2, *[("u", "b", 0, "view")] * 6, ("u", "b", 3 * DAY, "purchase"),
    ("u", "c", 0, "impression"), ("u", "a", 2 * DAY, "cart"),
    ("u", "a", 2 * DAY, "search"), ("u", None, 9 * DAY, "search"),
)  # fmt: skip


def raw(made, name):
    """A column up to its scale: differences in units of the first one."""
    own = made.values[:, made.columns.index(name)]
    return [*own, made.prior[made.columns.index(name)]]


def scaled(values, prior):
    values = np.array(values)
    return [*((values - values.mean()) / values.std()), (prior - values.mean()) / values.std()]


def test_statistics_by_hand():
    made = fit_statistics(EVENTS)
    assert made.item_ids == ("a", "b", "c")
    assert made.columns == (
        "cart", "click", "impression", "purchase", "view",
        "click-through", "cart per view", "purchase per view", "recency",
    )  # fmt: skip
    assert raw(made, "view") == pytest.approx(scaled(np.log([5, 7, 1]), 0.0), abs=1e-5)
    # 2 clicks of 11 impressions with half an event: 2.5 / 12, weighed as 4 impressions.
    shown, bought = 2.5 / 12, 1.5 / 11
    rates = [(4 * shown + 2) / 12, (4 * shown) / 6, (4 * shown) / 5]
    assert raw(made, "click-through") == pytest.approx(scaled(np.log(rates), np.log(shown)), abs=1e-4)
    rates = [(4 * bought + 0) / 8, (4 * bought + 1) / 10, bought]
    assert raw(made, "purchase per view") == pytest.approx(scaled(np.log(rates), np.log(bought)), abs=1e-4)
    # The window ends with the last event that counts, the purchase on day 3; c was only shown.
    days = np.log1p([1.0, 0.0])
    assert raw(made, "recency") == pytest.approx(scaled([*days, days.mean()], days.mean()), abs=1e-4)
    assert fit_statistics(EVENTS.sample(fraction=1.0, shuffle=True, seed=3)).fingerprint == made.fingerprint
    # Items without events get the prior and a flag.
    encoded = made.encode(["c", "never seen", "a"])
    assert encoded.shape == (3, 10) and encoded.dtype == np.float32 and made.encode([]).shape == (0, 10)
    np.testing.assert_array_equal(encoded[:, -1], [0, 1, 0])
    np.testing.assert_array_equal(encoded[[0, 2], :-1], made.values[[2, 0]])
    np.testing.assert_array_equal(encoded[1], made.new_item)
    # More successes than trials are no rate above one.
    rows = [("u", "a", 0, "view"), *[("u", "a", 0, "purchase")] * 9, *[("u", "b", 0, "view")] * 5]
    made = fit_statistics(table(*rows))
    rates = np.log([(4 * 1.5 / 7 + 1) / 5, (4 * 1.5 / 7) / 9])
    assert raw(made, "purchase per view") == pytest.approx(scaled(rates, np.log(1.5 / 7)), abs=1e-4)


def test_what_types_exist_decides_the_columns():
    def columns(*events, **more):
        return fit_statistics(table(*(("u", item, day * DAY, kind) for item, day, kind in events)), **more).columns

    assert columns(("a", 0, "rating"), ("b", 1, "rating"), ("b", 1, "rating")) == ("rating", "recency")
    assert columns(("a", 0, "view"), ("b", 0, "view"), recency=False) == ("view",)
    assert columns(("a", 0, "click"), ("a", 0, "cart"), ("b", 0, "click"))[2] == "cart per view"
    assert columns(("a", 0, "impression"), ("b", 0, "impression")) == ("impression",)
    # A column that never differs says nothing, and neither do no events.
    same = fit_statistics(table(("u", "a", 0, "view"), ("u", "b", 0, "view")))
    assert not same.values.any() and not same.prior.any()
    none = fit_statistics(table())
    assert none.columns == () and none.encode(["a"]).tolist() == [[1.0]]
    # The columns of a parent are kept.
    made, again = fit_statistics(EVENTS), fit_statistics(EVENTS, columns=("recency", "rating", "view"))
    assert again.columns == ("recency", "rating", "view")
    assert raw(again, "view") == raw(made, "view") and raw(again, "recency") == raw(made, "recency")
    assert not any(raw(again, "rating"))
    assert fit_statistics(table(), columns=("view",)).encode(["a"]).tolist() == [[0.0, 1.0]]


FOLDED = table(
    *[("user 0", "a", n, "view") for n in range(3)], ("user 0", "c", 9, "view"), ("user 0", "a", 5, "purchase"),
    *[("user 1", "a", DAY, "view")], *[("user 1", "b", 2 * DAY, "view")] * 2, ("user 3", "b", DAY, "view"),
)  # fmt: skip


def test_what_each_fold_may_read_is_counted_over_the_others_and_scaled_to_all_and_is_not_saved(tmp_path):
    whole, made = (fit_statistics(FOLDED, folds=folds) for folds in (1, 3))
    # Who is counted apart decides nothing of what is served and saved.
    assert made.fingerprint == whole.fingerprint and not whole.others and len(made.others) == 3
    # A user's fold depends on the name alone, on every machine, and folds are about equally large.
    assert user_folds(["user 0", "user 1", "user 3"], 3).tolist() == [0, 1, 2]
    users = [f"user {n}" for n in range(5000)]
    found = user_folds(users, 5)
    assert found.tolist() == [zlib.crc32(user.encode()) % 5 for user in users]
    assert np.abs(np.bincount(found, minlength=5) - 1000).max() < 150
    _, second, third = made.others
    assert [own.item_ids for own in made.others] == [("a", "b"), ("a", "b", "c"), ("a", "b", "c")]
    logs, view = np.log1p([4, 3, 1]), made.columns.index("view")

    def read(count):
        return (np.log1p(count * 3 / 2) - logs.mean()) / logs.std()

    views = [read(1), read(3)], [read(3), read(1), read(1)], [read(4), read(2), read(1)]
    for own, counts in zip(made.others, views, strict=True):
        assert own.values[:, view] == pytest.approx(counts, abs=1e-5)
    # One purchase on four views: (4 mean + 3 / 2) / (4 + 6), with the catalog's mean of 1.5 / 9.
    scale = np.log([(4 * 1.5 / 9 + 1) / 8, 4 * 1.5 / 9 / 7, 4 * 1.5 / 9 / 5])
    expected = (np.log((4 * 1.5 / 9 + 1.5) / 10) - scale.mean()) / scale.std()
    assert third.values[0, made.columns.index("purchase per view")] == pytest.approx(expected, abs=1e-4)
    # Without user 1 the last event on b is user 3's, a day before the newest of all.
    days, recency = np.log1p([1.0, 0.0, 2 - 9 / DAY]), made.columns.index("recency")
    assert second.values[1, recency] == pytest.approx((np.log1p(1.0) - days.mean()) / days.std(), abs=1e-4)
    encoded = ItemFeatures(statistics=made).encode(["c", "b", "never seen"], None).by_fold.numpy()
    assert encoded.shape == (3, 3, len(made.columns) + 1)
    np.testing.assert_array_equal(encoded[0, 0], made.new_item)
    np.testing.assert_array_equal(encoded[2], np.tile(made.new_item, (3, 1)))
    np.testing.assert_array_equal(encoded[1, 1], [*second.values[1], 0.0])
    # What training alone reads is not saved.
    made.save(tmp_path)
    loaded = ItemStatistics.load(tmp_path)
    assert loaded.fingerprint == made.fingerprint and not loaded.others
    assert ItemFeatures(statistics=loaded).encode(["a"], None).by_fold is None
    np.testing.assert_array_equal(loaded.encode(["b", "x"]), made.encode(["b", "x"]))
    (tmp_path / "statistics.json").write_text('{"columns": ["view"], "items": ["a"]}')
    with pytest.raises(ValueError, match="shape"):
        ItemStatistics.load(tmp_path)


def test_the_encoder_starts_as_nothing_and_makes_some_items_look_new_in_training():
    made = fit_statistics(EVENTS)
    rows = torch.from_numpy(made.encode(["a"] * 400))
    torch.manual_seed(0)
    encoder = module.StatisticsEncoder(made, StatisticsConfig(dropout=0.25), 2).eval()
    assert not encoder(rows).any()
    with torch.no_grad():
        encoder.output.weight.fill_(1.0)
    own, new = encoder(rows)[0], encoder(torch.from_numpy(made.new_item)[None])[0]
    out = encoder.train()(rows)
    like_new = (out - new).abs().amax(dim=1) < 1e-5
    assert 0.18 < like_new.float().mean() < 0.32
    torch.testing.assert_close(out[~like_new], own.expand(int((~like_new).sum()), -1))
    assert (own - new).abs().max() > 1e-3


@pytest.mark.parametrize(("folds", "told"), [(1, True), (5, False)])
def test_that_an_item_was_taken_once_cannot_be_learned_as_the_answer(hub, space, encoded, folds, told):
    """Counted over everybody, an event on record tells each rare target; over the other folds it says nothing: items 0
    to 3 are taken by everybody, three of them first; 10 to 59 each by one user, last; nobody takes 60 to 99."""
    n, ids = 100, [f"item {row:03d}" for row in range(100)]
    taken = {f"user {user:02d}": [*((user + step) % 4 for step in range(3)), 10 + user] for user in range(50)}
    events = table(*((user, ids[item], 10 * t, "view") for user, own in taken.items() for t, item in enumerate(own)))
    own = {"content": [], "ids": False, "transformer": {"dimension": 8, "max_length": 4, "dropout": 0.0}}
    training = {"max_epochs": 25, "negatives": 64, "learning_rate": 0.03, "tokens_per_batch": 64}
    statistics = {"dropout": 0.0, "folds": folds}
    config = SpokeConfig.model_validate({**own, "training": training, "statistics": statistics})
    features = ItemFeatures(statistics=fit_statistics(events, folds, recency=False))
    torch.manual_seed(0)
    model = BehaviourModel(config, hub.fusion, space, 0, features)
    inputs = model.inputs(encoded.rows(np.arange(n) % 12), np.zeros(n, np.int64), features.encode(ids, None))
    train_behaviour(model, inputs, sequences_of(events, pl.Series("item_id", ids)), config)
    vectors = model.item_vectors(inputs)
    after_one, after_three = model.session_vectors(vectors, [np.array([0]), np.array([0, 1, 2])]) @ vectors.T
    # How much higher than items nobody took it scores popular ones, and rare ones, where due.
    popular, rare = after_one[:4].mean() - after_one[60:].mean(), after_three[10:60].mean() - after_three[60:].mean()
    assert popular > 1 and (rare > 1 if told else rare < 0.1)
