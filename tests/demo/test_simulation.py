"""The simulated marketplace: what its files hold, what each modality shows, and that both together know most."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hubspoke.arrays import IntArray
from hubspoke.catalog.sequences import Sequences, build_sequences
from hubspoke.demo.simulation import (
    COLOURS,
    KINDS,
    TEXTUAL,
    VISUAL,
    CategoryFiles,
    MarketplaceSettings,
    attribute_values,
    draw_product,
    one_hot,
    simulate_category,
    simulate_marketplace,
)
from hubspoke.errors import NotFoundError
from hubspoke.evaluation.comparison import compare
from hubspoke.evaluation.evaluate import Score, evaluate
from hubspoke.evaluation.protocols import Protocol, leave_one_out
from PIL import Image
from pydantic import ValidationError

SMALL = MarketplaceSettings(items_per_category=24, users=12, image_size=24)


@pytest.fixture(scope="module")
def mugs(tmp_path_factory: pytest.TempPathFactory) -> CategoryFiles:
    """A category of the usual size with thumbnails, which behaviour does not depend on."""
    return simulate_category("mugs", MarketplaceSettings(image_size=16), tmp_path_factory.mktemp("mugs"))


def sessions_of(files: CategoryFiles) -> Sequences:
    items, events = pl.read_csv(files.items), pl.read_csv(files.events)
    moments = pl.col("timestamp").str.to_datetime(time_unit="us", time_zone="UTC")
    events = events.with_columns(moments).sort("user_id", "timestamp", maintain_order=True)
    gap = pl.col("timestamp").diff().dt.total_minutes().over("user_id").fill_null(999) > 30
    return build_sequences(events.with_columns(gap.cum_sum().alias("session")), items["item_id"])


def truth_of(files: CategoryFiles) -> list[dict[str, str]]:
    products = json.loads(files.truth.read_text(encoding="utf-8"))["items"]
    assert list(products) == pl.read_csv(files.items)["item_id"].to_list()
    return list(products.values())


@pytest.mark.parametrize("name", KINDS)
def test_files_hold_items_events_pictures_and_a_text_that_names_no_visual_attribute(tmp_path: Path, name: str) -> None:
    files = simulate_category(name, SMALL, tmp_path)
    items, events = pl.read_csv(files.items), pl.read_csv(files.events)
    assert items["item_id"].n_unique() == len(items) == 24
    assert set(events["item_id"]) <= set(items["item_id"])
    assert events["user_id"].n_unique() == 12
    assert set(events["event_type"]) <= {"view", "click", "cart", "purchase"}
    visible = {value for attribute in VISUAL for value in attribute_values(name)[attribute]}
    for item, product in zip(items.iter_rows(named=True), truth_of(files), strict=True):
        with Image.open(tmp_path / item["image"]) as picture:
            assert (picture.size, picture.mode) == ((24, 24), "RGB")
        text = f"{item['title']} {item['description']}".lower()
        assert not set(re.findall(r"[a-z]+", text)) & visible
        assert all(product[attribute].lower() in text for attribute in TEXTUAL)
    values = attribute_values(name)
    for pattern, silhouette in itertools.product(values["pattern"], values["silhouette"]):
        product = {"colour": "green", "pattern": pattern, "silhouette": silhouette}
        pixels = np.asarray(draw_product(name, product, 32, np.random.default_rng(0)))
        assert 0.1 < (pixels.min(axis=2) < 200).mean() < 0.9


def test_files_follow_from_the_seed_and_the_category_alone(tmp_path: Path) -> None:
    def contents(folder: Path) -> dict[str, bytes]:
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.*"))}

    simulate_category("rugs", SMALL, tmp_path / "alone")
    market = simulate_marketplace(SMALL.model_copy(update={"categories": ("lamps", "rugs")}), tmp_path / "market")
    assert list(market) == ["lamps", "rugs"]
    alone = contents(tmp_path / "alone")
    assert len(alone) == 24 + 3
    assert alone == contents(tmp_path / "market" / "rugs")
    simulate_category("rugs", SMALL.model_copy(update={"seed": 8}), tmp_path / "other")
    assert alone["events.csv"] != contents(tmp_path / "other")["events.csv"]


def test_the_picture_shows_visual_attributes_and_ignores_textual_ones() -> None:
    def draw(**changes: str) -> np.ndarray:
        product = {"colour": "red", "pattern": "plain", "silhouette": "straight", "material": "steel", **changes}
        return np.asarray(draw_product("mugs", product, 48, np.random.default_rng(3)), dtype=np.float64)

    plain = draw()
    np.testing.assert_array_equal(plain, draw(material="bamboo", style="vintage", brand="Tindra"))
    for change in ({"colour": "blue"}, {"pattern": "dotted"}, {"pattern": "zigzag"}, {"silhouette": "slim"}):
        assert np.abs(plain - draw(**change)).mean() > 8
    assert np.abs(plain[24, 16] - COLOURS["red"]).max() < 40


def test_sessions_never_repeat_an_item_and_demand_has_a_long_tail(mugs: CategoryFiles) -> None:
    sequences = sessions_of(mugs)
    assert (sequences.lengths.min() >= 3, sequences.lengths.max() <= 8) == (True, True)
    assert all(len(set(session.tolist())) == len(session) for session in sequences)
    totals = sequences.by_user().lengths
    assert (totals.min(), totals.max(), len(sequences.user_ids)) == (8, 14, 500)
    # Late products have no early events.
    items, events = pl.read_csv(mugs.items), pl.read_csv(mugs.events)
    joined = events.join(items.select("item_id", "created_at"), on="item_id")
    assert (joined["timestamp"] >= joined["created_at"]).all()
    counts = np.sort(sequences.item_counts())[::-1]
    assert counts[:24].sum() > 0.2 * counts.sum()
    assert (counts < 5).sum() >= 5


def content(features: np.ndarray) -> Score:
    """Mean of the last five items' features against every item's: what a perfect encoder could do on day zero."""
    centred = features - features.mean(axis=0)

    def score(histories: list[IntArray]) -> np.ndarray:
        return np.stack([centred[history.items[-5:]].mean(axis=0) for history in histories]) @ centred.T

    return score


def test_both_modalities_know_clearly_more_than_either_and_any_beats_popularity(mugs: CategoryFiles) -> None:
    products, values = truth_of(mugs), attribute_values("mugs")
    given = leave_one_out(sessions_of(mugs), settings=Protocol(exclude_seen=True))
    visual, textual = (one_hot(products, group, values) for group in (VISUAL, TEXTUAL))
    measured = {
        "both": evaluate(content(np.hstack([visual, textual])), given),
        "visual": evaluate(content(visual), given),
        "textual": evaluate(content(textual), given),
        "popularity": evaluate(lambda histories: np.tile(given.train_counts / 1.0, (len(histories), 1)), given),
    }
    rows = {row.model: row for row in compare(measured, baseline="both", metrics=("ndcg@10",), slices=("all",))}
    both = rows["both"].value
    assert both > 0.15
    for system in ("visual", "textual"):
        assert rows[system].difference_high < -0.04
        assert rows[system].value > 1.4 * rows["popularity"].value
    assert both > 3 * rows["popularity"].value


def test_taste_is_kept_between_categories(tmp_path: Path) -> None:
    settings = MarketplaceSettings(image_size=16, items_per_category=120, users=200, closeness=0)
    shares = []
    for name in ("lamps", "rugs"):
        files = simulate_category(name, settings, tmp_path / name)
        features = one_hot(truth_of(files), ("colour",), attribute_values(name))
        sequences = sessions_of(files).by_user()
        shares.append(np.array([features[s].mean(axis=0) for s in sequences]) - features.mean(axis=0))
    assert np.corrcoef(shares[0].ravel(), shares[1].ravel())[0, 1] > 0.25


def test_unknown_categories_and_impossible_sessions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="'sofas' cannot be drawn; choose one of lamps, mugs"):
        simulate_category("sofas", SMALL, tmp_path)
    with pytest.raises(ValidationError, match="rugs"):
        MarketplaceSettings(categories=("sofas",))
    with pytest.raises(ValidationError, match="3 <= fewest <= most"):
        MarketplaceSettings(events_per_user=(2, 5))
