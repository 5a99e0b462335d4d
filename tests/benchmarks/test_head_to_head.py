"""Files to a table: all systems on the same users, the choice on validation, and a killed run that goes on."""

import argparse
import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hubspoke.spokes.config import SpokeConfig
from hubspoke.spokes.regimes import SPARSE, Regime

from benchmarks.spokes import fusion, head_to_head

Options = Callable[..., list[str]]


REQUIRED = ["--items", "i.csv", "--events", "e.csv", "--out", "r.json"]


@pytest.fixture
def options(category: list[str], tmp_path: Path) -> Options:
    return lambda *more: [*category, "--out", str(tmp_path / "report.json"), *more]


def report_of(arguments: list[str]) -> dict[str, Any]:
    return json.loads(Path(arguments[arguments.index("--out") + 1]).read_text(encoding="utf-8"))


def test_every_system_stands_in_both_tables_and_a_second_run_trains_nothing(options: Options, tmp_path, capsys) -> None:
    chosen = options(
        *("--variants", "sasrec,bert4rec-ids", "--variant", "wide=transformer.dimension=12,id_dropout=0"),
        *("--baselines", "popularity,item-cf,hub,hub-recency", "--keep-workspace", str(tmp_path / "kept")),
    )
    head_to_head.main(chosen)
    text, first = capsys.readouterr().out, report_of(chosen)
    systems = ["popularity", "item-cf", "hub alone", "hub-recency"]
    systems += ["sasrec, seed 0", "bert4rec-ids, seed 0", "wide, seed 0"]
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == ["system", *systems] * 2
    assert not any("not measured" in row for row in rows)
    scores = {own["variant"]: own["summary"]["validation_ndcg@10"] for own in first["spokes"].values()}
    assert first["best"] == max(scores, key=lambda name: scores[name])
    # All are ranked for the same users, and the best spoke is what they are held against.
    for compared in first["compared"].values():
        assert {result["n_users"] for result in compared["results"]} == {30}
        assert first["spokes"][compared["baseline"]]["variant"] == first["best"]
        assert head_to_head.verdict(compared, compared["baseline"]) == "-"
        assert head_to_head.verdict(compared, "popularity").startswith(("worse (-", "tied (", "better (+"))
    assert "items.csv, events.csv: 24 items (24 with text, 0 with pictures), 180 events" in text
    head_to_head.main(chosen)
    second = report_of(chosen)  # found, not trained: even the seconds of the spokes are those of the first run
    assert (second["spokes"], second["compared"]) == (first["spokes"], first["compared"])


def test_seeds_are_summed_up_and_a_temporal_split_is_passed_on(options: Options, capsys) -> None:
    chosen = options("--variants", "sasrec-ids", "--baselines", "popularity", "--seeds", "0,1", "--policy", "excluded")
    head_to_head.main([*chosen, "--protocol", "temporal", "--test-from", "2024-05-11"])
    text, report = capsys.readouterr().out, report_of(chosen)
    assert list(report["compared"]) == ["seen items excluded"]
    assert "temporal test, window from 2024-05-11" in text
    own = [r["metrics"]["all"]["ndcg@10"] for r in report["compared"]["seen items excluded"]["results"][1:]]
    mean = f"{sum(own) / 2:.4f} ({min(own):.4f} to {max(own):.4f})"
    line = next(line for line in text.splitlines() if line.startswith("| sasrec-ids, mean of 2 seeds"))
    assert line.split(" | ")[2] == mean


def test_the_ablation_of_the_fusion_names_what_validation_chose(options: Options, capsys) -> None:
    chosen = options("--fusions", "concat")
    fusion.main(chosen)
    text, report = capsys.readouterr().out, report_of(chosen)
    made_of = list(dict.fromkeys(name.partition(" / ")[0] for name in fusion.variants(["concat"], False)))
    assert [own["variant"].partition(" / ")[0] for own in report["spokes"].values()] == made_of
    bold = [line for line in text.splitlines() if line.startswith("| **")]
    assert [line.split("**")[1] for line in bold] == [report["best"].partition(" / ")[0]] * 2
    best = max(own["summary"]["validation_ndcg@10"] for own in report["spokes"].values())
    assert all(f"| {best:.4f} |" in line for line in bold)
    compared = report["compared"]["seen items excluded"]
    ref, own = next(iter(report["spokes"].items()))
    first = next(result for result in compared["results"] if result["model"] == ref)
    other = deepcopy(first) | {"model": "another seed"}
    first["metrics"]["all"]["ndcg@10"], other["metrics"]["all"]["ndcg@10"] = 0.25, 0.75
    compared["results"].append(other)
    spokes = report["spokes"] | {"another seed": own}
    several = report | {"spokes": spokes, "compared": {"seen items excluded": compared}}
    row = next(line for line in fusion.markdown(several).splitlines() if line.startswith("| text |"))
    assert row.split(" | ")[4] == "0.5000 (0.2500 to 0.7500)"


def test_what_an_item_is_not_made_of_is_left_out() -> None:
    with_pictures, without = (fusion.variants(fusion.FUSIONS, there) for there in (True, False))
    assert len(with_pictures) == 3 + 6 * 3 and len(without) == 2 + 5 * 3
    assert not any("pictures" in name for name in without)
    gate = {"ids": False, "attributes": {}, "statistics": None, "fusion": "gate"}
    assert with_pictures["content, attributes / gate"] == gate
    assert [name for name in without if name.startswith(("text", "ID"))] == ["text / concat", "ID / concat"]
    # What an item is not made of is not read where the regime would read it.
    fill, variants = Regime("small-sparse", SPARSE).fill, fusion.variants(fusion.FUSIONS, True)
    filled = {name: SpokeConfig.model_validate(fill(own)) for name, own in variants.items()}
    assert {name for name, config in filled.items() if config.statistics} == {n for n in filled if "statistics" in n}
    assert len(set(map(repr, filled.values()))) == len(filled)


def test_a_variant_is_a_name_and_nested_settings() -> None:
    name, settings = head_to_head.variant("own=content=[text, image],training.max_epochs=3, id_dropout=0.2")
    assert name == "own"
    assert settings == {"content": ["text", "image"], "training": {"max_epochs": 3}, "id_dropout": 0.2}
    arguments = head_to_head.parse([*REQUIRED, "--variants", "sasrec", "--variant", "bert4rec-ids=id_dropout=0.2"])
    variants = head_to_head.plan_of(arguments).variants(True)
    assert variants["bert4rec-ids"] == {"model": "bert4rec", "content": [], "id_dropout": 0.2}
    with pytest.raises(argparse.ArgumentTypeError, match="sets nothing"):
        head_to_head.variant("own")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (REQUIRED[2:], "give --items and --events"),
        ([*REQUIRED, "--protocol", "temporal"], "go together"),
        ([*REQUIRED, "--variants", "gru4rec"], "not gru4rec"),
    ],
)
def test_options_that_do_not_go_together_are_refused(wrong: list[str], said: str, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        head_to_head.parse(wrong)
    assert ended.value.code == 2 and said in capsys.readouterr().err


def test_equal_variants_and_an_unknown_best_are_refused(options: Options, capsys: pytest.CaptureFixture[str]) -> None:
    twice = options("--variants", "sasrec", "--variant", "again=model=sasrec", "--baselines", "popularity")
    for wrong, said in ((twice, "again is sasrec once more"), ([*twice[:-4], "--best", "x"], "There is no variant x")):
        with pytest.raises(SystemExit):
            head_to_head.main(wrong)
        assert said in capsys.readouterr().err
