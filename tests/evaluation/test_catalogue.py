"""The catalogue of metrics: complete, consistent, and the one that docs/assessment.md prints."""

from pathlib import Path

import pytest
from hubspoke.evaluation.catalogue import CATALOGUE, DIMENSIONS, DRIFT, find, markdown
from hubspoke.evaluation.evaluate import COVERAGE
from hubspoke.evaluation.lists import CALIBRATION, COLD_EXPOSURE, DIVERSITY, GINI, NOVELTY, SERENDIPITY, TAIL_EXPOSURE
from hubspoke.evaluation.metrics import AT_K, OVERALL
from hubspoke.hub.drift import LIST
from hubspoke.retrieval.measurement import LATENCY_MS, IndexRequest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "assessment.md"


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_the_page_has_the_table(dimension: str) -> None:
    assert markdown(dimension) in PAGE.read_text(encoding="utf-8")


def test_everything_that_an_evaluation_reports_is_defined_once() -> None:
    lists = {NOVELTY, DIVERSITY, SERENDIPITY, CALIBRATION, COLD_EXPOSURE, TAIL_EXPOSURE}
    defined = {own.name for own in CATALOGUE.values() if own.dimension == "downstream"}
    assert defined == {f"{name}@k" for name in AT_K} | set(OVERALL) | lists | {COVERAGE, GINI}
    # What belongs to all users together cannot be compared user by user.
    alone = {own.name for own in CATALOGUE.values() if own.dimension == "downstream" and not own.per_user}
    assert alone == {COVERAGE, GINI}


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_a_definition_is_whole_and_its_threshold_within_its_bounds(name: str) -> None:
    own = CATALOGUE[name]
    assert own.title and own.formula and own.unit and own.better in ("higher", "lower") and own.dimension in DIMENSIONS
    assert own.most is None or own.least < own.most
    if own.threshold is not None:
        assert own.least <= own.threshold and (own.most is None or own.threshold <= own.most)
        assert own.meets(own.threshold)
    else:
        assert own.meets(0.5) is None


def test_a_threshold_has_a_direction() -> None:
    hubness, kept = CATALOGUE["hubness"], CATALOGUE["same_category"]
    assert (hubness.meets(2.0), hubness.meets(2.1), hubness.meets(2.1, 3.0)) == (True, False, True)
    assert (kept.meets(0.6), kept.meets(0.59)) == (True, False)


def test_a_name_with_a_list_length_is_found() -> None:
    assert find("ndcg@20") is CATALOGUE["ndcg@k"] and find("hubness") is CATALOGUE["hubness"]
    for name in (
        "ndcg",
        "ndcg@k",
        "ndcg@0",
        "ndcg@",
        "ndcg@ten",
        "coverage@10",
        "hubness@10",
        "ndgc@10",
        "ndcg@123456",
    ):
        assert find(name) is None, name


def test_thresholds_are_those_of_the_rooms_that_know_them() -> None:
    assert CATALOGUE["latency_p99_ms"].threshold == LATENCY_MS
    assert CATALOGUE["index_recall@10"].threshold == IndexRequest().recall
    assert {f"neighbours_kept@{LIST}", f"lists_changed@{LIST}"} < set(DRIFT)
