"""The benchmark of experiments: its truth by hand, its shoppers by its truth, and a run on a service of few items."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import experiment, experiment_client

TASTE = {"attraction": {"oak": 0.5, "elm": 0.25}, "price": {"oak": 10.0, "elm": 4.0}}


def test_what_a_list_brings_on_average() -> None:
    assert [round(experiment_client.examination(rank), 4) for rank in (1, 2, 3)] == [1.0, 0.6309, 0.5]
    # Clicks of 0.5 and 0.25 * 0.6309, of which half are bought.
    found = experiment.expected(["oak", "elm"], TASTE, buying=0.5)
    assert found == pytest.approx(
        {"clicks": 0.6577, "purchases": 0.3289, "buyers": 0.3092, "revenue": 2.8155}, abs=1e-4
    )
    lists = {"control": ["oak", "elm"], "candidate": ["elm", "oak"]}
    found = experiment.truth([TASTE | {"lists": lists}, TASTE | {"lists": {arm: ["oak"] for arm in lists}}], [0, 0, 1])
    # Two thirds see 0.25 + 0.5 * 0.6309 clicks in place of 0.5 + 0.25 * 0.6309, a third see the same.
    assert found["difference"]["clicks"] == pytest.approx(2 / 3 * -0.25 * (1 - 0.6309), abs=1e-4)


def test_shoppers_do_on_average_what_is_expected() -> None:
    rng, done = random.Random(0), Counter[str]()
    for _ in range(20_000):
        done.update(kind for kind, _ in experiment_client.behaviour(["oak", "elm"], TASTE["attraction"], 0.5, rng))
    assert done["click"] / 20_000 == pytest.approx(0.6577, abs=0.015)  # 3.4 standard deviations
    assert done["purchase"] / 20_000 == pytest.approx(0.3289, abs=0.013)


def test_a_taste_likes_what_it_has_seen_most(monkeypatch) -> None:
    products = {
        f"{style} {brand}": {"style": style, "material": "oak", "room": "hall", "brand": brand}
        for style in ("plain", "gay")
        for brand in (experiment.BRAND, "other")
    }
    taste = experiment.taste_of(products, dict.fromkeys(products, 1.0), random.Random(1))
    assert len({item.split()[0] for item in taste["session"]}) == 1
    liked = taste["session"][0].split()[0]
    by_hand = {f"{liked} {experiment.BRAND}": 0.06 + 3 * 0.12 + 0.2, f"{liked} other": 0.06 + 3 * 0.12}
    assert {item: taste["attraction"][item] for item in by_hand} == pytest.approx(by_hand)


@pytest.mark.slow
def test_experiments_are_run_judged_and_told(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(experiment, "HUB", {"text": {"name": "tiny"}, "image": None, "contrastive": {"steps": 0}})
    monkeypatch.setattr(experiment, "TASTES", 4)
    monkeypatch.setattr(experiment, "KILL_SECONDS", 0.3)
    monkeypatch.setattr(experiment, "ROUNDS", 1)
    options = ["--items", "40", "--rate", "100", "--seconds", "2", "--window", "0.5", "--clients", "2"]
    out = tmp_path / "report.json"
    experiment.main([*options, "--overhead", "0.2", "--quiet", "--out", str(out)])
    report = json.loads(out.read_text())
    for name in ("same", "boost"):
        own = report[name]
        assert own["came"]["statuses"]["200"] == own["came"]["shoppers"] == own["logged"]["exposures"] == 200
        assert own["logged"]["shoppers"] == sum(own["arms"].values()) == 200 and own["waiting"] == 0
        assert own["came"]["wrong_lists"] == 0
        assert sum(own["came"]["arms"].values()) == 200 and set(own["came"]["arms"]) == {"control", "candidate"}
        # What the report counts is what the shoppers did.
        for number, kind in (("clicks", "click"), ("purchases", "purchase")):
            (row,) = [one for one in own["numbers"] if one["number"] == number]
            counted = sum(row[f"{arm}_found"] * own["arms"][arm] for arm in own["arms"])
            assert round(counted) == own["came"]["done"][kind]
    assert report["same"]["changed_lists"] == 0 == report["same"]["numbers"][0]["truth"]
    assert report["boost"]["changed_lists"] > 0 < report["boost"]["numbers"][0]["truth"]
    kill = report["overhead"]["kill"]
    assert kill["lists"] > kill["lost"] and kill["oldest_lost_seconds"] < 1
    assert "| boost | purchases | +" in capsys.readouterr().out
