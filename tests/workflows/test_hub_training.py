"""How a hub is trained: what is kept of a training is what helps categories it has not seen."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hubspoke.errors import IncompatibleError, UsageError
from hubspoke.hub.config import HubConfig
from hubspoke.hub.model import Hub
from hubspoke.hub.parts import hub_parts
from hubspoke.spokes.regimes import deep_merge
from hubspoke.workflows.datasets import load_dataset
from hubspoke.workflows.hub_stages.base import kept_share
from hubspoke.workflows.hub_stages.fusion import FusionStage
from hubspoke.workflows.hub_training import HubJob, category_of, starting_hub
from hubspoke.workflows.hub_warm_start import load_hub_parent
from hubspoke.workflows.loading import load_hub
from hubspoke.workflows.models import ModelResult
from hubspoke.workflows.workspace import Workspace

TRAINING = {"steps": 40, "batch_size": 64, "learning_rate": 1e-2, "temperature": 0.2, "interpolations": [0.5, 1.0]}
ENCODERS = {"text": {"name": "tiny"}, "image": None, "text_fields": ["title"]}
CONFIG = {**ENCODERS, "fusion": {"hidden": 32}, "contrastive": TRAINING, "reading": {"sessions": 0}}
STYLES = ("modern", "rustic", "nordic", "vintage")


def row(held_out: str, share: float, ndcg: float, start: float, high: float | None = None) -> dict[str, Any]:
    made = {"held_out": held_out, "share": share, "ndcg@10": ndcg, "difference": ndcg - start}
    return made if high is None else made | {"low": 2 * (ndcg - start) - high, "high": high}


def test_the_share_with_the_largest_mean_gain_is_kept() -> None:
    # Gains relative to the start: 0.5 gives 20 % and 0 %, 1.0 gives 50 % and -10 % (not significant).
    rows = [
        row("a", 0.0, 0.10, 0.10), row("a", 0.5, 0.12, 0.10, 0.03), row("a", 1.0, 0.15, 0.10, 0.07),
        row("b", 0.0, 0.20, 0.20), row("b", 0.5, 0.20, 0.20, 0.01), row("b", 1.0, 0.18, 0.20, 0.01),
    ]  # fmt: skip
    assert kept_share(rows) == 1.0
    # The same with an interval that lies below zero: harm to one category rules the share out.
    rows[-1] = row("b", 1.0, 0.18, 0.20, -0.01)
    assert kept_share(rows) == 0.5
    # None is a candidate, and the smallest wins a tie.
    for shares, kept in (
        ({}, 0.0),
        ({0.5: 0.09, 1.0: 0.05}, 0.0),  # worse by chance or not: nothing is gained
        ({0.5: 0.10, 1.0: 0.10}, 0.0),
        ({0.5: 0.12, 1.0: 0.12}, 0.5),
    ):
        rows = [row("a", 0.0, 0.10, 0.10), *(row("a", share, ndcg, 0.10, 0.05) for share, ndcg in shares.items())]
        assert kept_share(rows) == kept
    assert kept_share([]) == 0.0
    # A category that starts at nothing has no relative gain.
    assert kept_share([row("a", 0.0, 0.0, 0.0), row("a", 1.0, 0.3, 0.0, 0.4)]) == 0.0


def write_category(folder: Path, name: str, seed: int) -> tuple[Path, Path]:
    """Products of four styles among other words; every shopper stays within one style."""
    rng = np.random.default_rng(seed)
    items, events = folder / f"{name}.csv", folder / f"{name}_events.csv"
    titles = [f"{STYLES[i % 4]} {name}{rng.integers(9)} {name}{rng.integers(9)} {name}{i}" for i in range(32)]
    items.write_text("\n".join(["item_id,title", *(f"{name}{i},{title}" for i, title in enumerate(titles))]))
    lines = ["user_id,item_id,timestamp,event_type"]
    for user in range(48):
        for step, nth in enumerate(rng.permutation(8)[:6]):
            lines.append(f"u{user:02},{name}{nth * 4 + user % 4},2024-05-01T10:{step:02}:00Z,view")
    events.write_text("\n".join(lines))
    return items, events


@pytest.fixture
def shops(ws: Workspace, tmp_path: Path) -> Workspace:
    """Three categories with the same styles and otherwise other words."""
    # One thread: products this small only lose time by being shared out.
    ws.settings = replace(ws.settings, threads=1)
    for seed, name in enumerate(("chair", "lamp", "vase")):
        ws.domain.add(name, *write_category(tmp_path, name, seed))
    return ws


def train(ws: Workspace, **kept: Any) -> tuple[ModelResult, Hub]:
    result = ws.hub.train(**({"config": CONFIG} | kept))
    hub, record = load_hub(ws, str(result.ref))
    assert record.space_fingerprint == hub.fingerprint
    return result, hub


def is_identity(hub: Hub) -> bool:
    return not torch.any(hub.fusion.up.weight) and not torch.any(hub.fusion.up.bias)


def test_training_is_kept_where_it_helps_categories_that_it_has_not_seen(shops: Workspace) -> None:
    result, hub = train(shops)
    rows = [(name, share) for name in ("chair", "lamp", "vase") for share in (0.0, 0.5, 1.0)]
    assert [(own["held_out"], own["share"]) for own in result.table] == rows
    share = result.summary["kept_share"]
    assert share == kept_share(result.table) > 0
    assert np.mean([own["difference"] for own in result.table if own["share"] == share]) > 0
    assert not is_identity(hub) and result.summary["final_loss"] > 0
    assert (result.summary["items"], result.summary["domains"]) == (96, ["chair", "lamp", "vase"])
    # The same training gives the same hub.
    first, again = (train(shops, domains=["chair", "lamp"], steps=9, force=force) for force in (False, True))
    assert first[0].ref != again[0].ref and first[1].fingerprint == again[1].fingerprint
    assert first[0].table == again[0].table
    assert train(shops, domains=["chair", "lamp"], steps=9)[0].cached


def test_without_steps_or_a_judge_the_hub_is_its_encoders(shops: Workspace) -> None:
    result, hub = train(shops, steps=0)
    assert is_identity(hub) and result.table == [] and result.summary["kept_share"] == 0.0
    assert hub.fingerprint == Hub(HubConfig.model_validate(CONFIG), device="cpu").fingerprint
    for domains in ([], ["chair"]):
        result, hub = train(shops, domains=domains)
        assert is_identity(hub) and list(result.table) == []
        assert (result.summary["kept_share"], result.summary["final_loss"]) == (0.0, None)
        assert result.summary["items"] == 32 * len(domains)


def test_encoders_are_trained_and_kept_where_that_helps_categories_not_seen(shops: Workspace) -> None:
    training = {"steps": 40, "learning_rate": 0.02, "temperature": 0.2, "batch_size": 16, "rank": 8, "text_layers": 1}
    encoders = {**training, "nearest_share": 1.0, "objectives": ["info_nce"]}
    config = {**CONFIG, "contrastive": {"steps": 0}, "encoders": encoders}
    result, hub = train(shops, config=config)
    rows = [("encoders", name, share) for name in ("chair", "lamp", "vase") for share in (0.0, 0.5, 1.0)]
    assert [(own["stage"], own["held_out"], own["share"]) for own in result.table] == rows
    share = result.summary["kept_encoders"]
    assert share == kept_share(result.table) > 0
    assert result.summary["encoders"] == hub.encoder_fingerprints
    plain = Hub(HubConfig.model_validate(CONFIG), device="cpu")
    assert hub.encoder_fingerprints != plain.encoder_fingerprints
    # The catalog is embedded with them, by the hub and by a spoke whose adapter stands on them.
    embedded = shops.hub.embed("chair", hub=str(result.ref))
    assert (embedded.hub, embedded.with_text) == (result.ref, 32)
    settings = {"training": {"max_epochs": 1}, "encoder_adapter": {"rank": 2}, "transformer": {"dimension": 8}}
    spoke = shops.spoke.train("chair", hub=result.ref, config=settings)
    assert shops.recommend(str(spoke.ref), ["chair0", "chair4"]).items
    # Kept on the evidence of one category, which stays out of the training.
    alone, _ = train(shops, held_out="vase", config=config)
    assert {own["held_out"] for own in alone.table} == {"vase"} and alone.ref != result.ref


def test_how_sessions_are_read_is_learned_and_kept_where_it_helps_categories_not_seen(shops: Workspace) -> None:
    reading = {"sessions": 48, "epochs": 10, "nearest": 4, "uniform": 8, "batch_size": 16, "interpolations": [1.0]}
    config = {**CONFIG, "contrastive": {"steps": 0}, "reading": reading}
    result, hub = train(shops, config=config)
    assert [(own["stage"], own["share"]) for own in result.table] == [("reading", 0.0), ("reading", 1.0)] * 3
    share = result.summary["kept_reading"]
    assert share == kept_share(result.table) and result.summary["kept_share"] == 0.0 and is_identity(hub)
    assert (hub.reading is not None) == (share > 0)
    again, same = train(shops, config=config, force=True)
    assert again.ref != result.ref and same.reading == hub.reading and list(again.table) == list(result.table)
    # Learned of nothing and of nobody, it is what it was: the fixed recency.
    alone, plain = train(shops, domains=["chair"], config=config)
    assert plain.reading is None and (list(alone.table), alone.summary["kept_reading"]) == ([], 0.0)


def test_a_hub_goes_on_from_its_parent_and_is_judged_against_it(shops: Workspace, refused: Any) -> None:
    reading = {"sessions": 48, "epochs": 6, "nearest": 4, "uniform": 8, "batch_size": 16}
    parent, old = train(shops, domains=["chair", "lamp", "vase"], config={**CONFIG, "reading": reading})
    assert parent.summary["kept_share"] > 0 and "drift" not in parent.summary
    # Without a step it is its parent, whatever may be trained otherwise.
    asleep = {"contrastive": {"steps": 0}, "reading": {"sessions": 0}, "seed": 4}
    same, hub = train(shops, config=asleep, parent="hub:1")
    assert hub.fingerprint == old.fingerprint and hub.reading == old.reading and not same.table
    assert hub_parts(hub) == hub_parts(old)
    nowhere = {"items": 32, "distance": 0.0, "neighbours@10": 1.0}
    assert same.summary["drift"] == dict.fromkeys(("chair", "lamp", "vase"), nowhere)
    assert same.summary["warm_start"] == {"parent": "hub:1"}
    (edge,) = (own for own in shops.lineage.upstream("hub:2").edges if own.relation == "warm_started_from")
    assert (edge.child, edge.parent) == ("hub:2", "hub:1")
    # Trained on, it is judged against where it began, and the same again is found.
    child, _ = train(shops, config={"contrastive": {"steps": 9}}, parent="hub:1")
    began = [own for own in child.table if own["stage"] == "fusion" and own["share"] == 0.0]
    ended = [own for own in parent.table if own["stage"] == "fusion" and own["share"] == parent.summary["kept_share"]]
    assert len(began) == len(ended) == 3 and child.summary["drift"].keys() == {"chair", "lamp", "vase"}
    assert train(shops, config={"contrastive": {"steps": 9}}, parent="hub:1")[0].cached
    assert not shops.hub.train(config={"contrastive": {"steps": 9}}, parent="hub:2", dry_run=True).cached
    told = r"hub:1 cannot be trained on .*fusion.hidden 32 there and 16 here"
    refused(IncompatibleError, told, shops.hub.train, config={"fusion": {"hidden": 16}}, parent="hub:1")
    for other in ({"from_scratch": True}, {"preset": "best"}):
        refused(UsageError, "leave --.* or --from out", shops.hub.train, parent="hub:1", **other)
    told = r"text.name tiny there and tiny:3 here"
    refused(IncompatibleError, told, shops.hub.train, config={"text": {"name": "tiny:3"}}, parent="hub:1")


def test_anchored_items_stay_nearer_to_where_the_parent_had_them(shops: Workspace) -> None:
    train(shops)
    parent, moved = load_hub_parent(shops, "hub:1"), []
    for anchor in (0.0, 100.0):
        ours = {"contrastive": {"steps": 40, "anchor": anchor}, "seed": 5}
        config = HubConfig.model_validate(deep_merge(parent.hub.config.model_dump(), ours))
        hub = starting_hub(shops, HubJob(config, [], Path(), None, "hub:1"), parent)
        begun = [category_of(shops, hub, load_dataset(shops, name), parent=parent) for name in ("chair", "lamp")]
        hub.fusion, _ = FusionStage(shops, hub).train(begun, "training")
        drift = parent.told(hub, begun, begun)["drift"]
        moved.append([drift[name]["distance"] for name in ("chair", "lamp")])
    assert 0 < max(moved[1]) < 0.5 * min(moved[0])
