"""Trees: what they learn, what may never harm, the same bytes at any number of threads, and damaged files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hubspoke.errors import CorruptArtifactError
from hubspoke.ranking import trees as trees_file
from hubspoke.ranking.config import RerankConfig
from hubspoke.ranking.features import FEATURES, NAMES, SPOKE_SAYS
from hubspoke.ranking.forest import FILE, Forest
from hubspoke.ranking.trees import Examples, Growth, choose, fit

CONFIG = RerankConfig(trees=20, patience=5, learning_rate=0.3)
PLAIN = Growth(1.0, bound=True)
TAKEN_BY = NAMES.index("times_taken")


def examples(seed: int, requests: int = 60, candidates: int = 20) -> Examples:
    """Requests whose shoppers take what they took before, which the spoke does not know."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(requests * candidates, len(FEATURES))).astype(np.float32)
    times = rng.integers(0, 5, requests * candidates)
    features[:, TAKEN_BY] = times
    taken = ((times == 4) & (rng.random(len(times)) < 0.8)).astype(np.int64)
    taken[::candidates] = 1
    return Examples(features, taken, features[:, NAMES.index("spoke_score")], np.full(requests, candidates))


@pytest.fixture(scope="module")
def trained() -> Forest:
    growth, trees, _ = choose(CONFIG, examples(0), examples(1))
    return fit(CONFIG, examples(0), growth, trees=trees)[0]


def test_what_decides_is_learned_and_is_better_on_what_was_not_seen(trained: Forest) -> None:
    unseen = examples(2)
    (_, alone), (grown, reached) = (fit(CONFIG, examples(0), PLAIN, unseen, trees=trees) for trees in (0, len(trained)))
    assert len(grown) == len(trained) > 0 and reached > alone + 0.2
    assert next(iter(trained.gains)) == "times_taken"
    assert sum(trained.gains.values()) == pytest.approx(1.0) and set(trained.gains) == set(NAMES)


def test_without_a_better_order_the_spokes_own_stays() -> None:
    noise = examples(3)
    spoke = np.where(noise.taken > 0, 5.0, 0.0).astype(np.float32)
    known = Examples(noise.features, noise.taken, spoke, noise.sizes)
    growth, trees, scores = choose(CONFIG, known, known)
    assert (trees, growth, scores) == (0, PLAIN, {"spoke": 1.0, "re-ranked": 1.0})
    found, _ = fit(CONFIG, known, growth, trees=trees)
    assert found.score(noise.features[:3], spoke[:3]).tolist() == spoke[:3].tolist()


def test_more_of_what_should_help_never_harms() -> None:
    rng, spoke = np.random.default_rng(4), np.zeros(50, np.float32)
    promised = {feature.name: feature.monotone for feature in FEATURES if feature.monotone} | SPOKE_SAYS
    trained, _ = fit(CONFIG, examples(8), PLAIN, trees=20)
    for name, sign in promised.items():
        place = NAMES.index(name)
        row = np.repeat(rng.normal(size=(1, len(FEATURES))).astype(np.float32), 50, axis=0)
        row[:, place] = np.linspace(-4, 4, 50)
        steps = np.diff(trained.score(row, spoke)) * sign
        assert (steps >= 0).all(), name


def test_the_same_examples_give_the_same_bytes_at_any_number_of_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, real = [], trees_file._parameters
    for threads in (1, 2):
        monkeypatch.setattr(trees_file, "_parameters", lambda *asked, n=threads: {**real(*asked), "nthread": n})
        fit(CONFIG, examples(0), PLAIN, trees=5)[0].save(tmp_path)
        written.append((tmp_path / FILE).read_bytes())
    assert written[0] == written[1]


def test_what_was_saved_is_loaded_and_scores_alike(trained: Forest, tmp_path: Path) -> None:
    trained.save(tmp_path)
    loaded, unseen = Forest.load(tmp_path), examples(2)
    assert (len(loaded), loaded.margin, dict(loaded.gains)) == (len(trained), trained.margin, dict(trained.gains))
    assert np.array_equal(loaded.score(unseen.features, unseen.spoke), trained.score(unseen.features, unseen.spoke))


def test_scores_are_those_of_the_library_that_grew_the_trees(trained: Forest) -> None:
    import xgboost

    unseen, rng = examples(2), np.random.default_rng(7)
    features = np.where(rng.random(unseen.features.shape) < 0.2, np.nan, unseen.features).astype(np.float32)
    booster = xgboost.Booster(model_file=bytearray(trained.text))
    margins = np.float32(trained.margin) * unseen.spoke
    expected = booster.inplace_predict(features, base_margin=margins, predict_type="margin")
    assert trained.score(features, unseen.spoke) == pytest.approx(expected, abs=1e-5)
    total = booster.get_score(importance_type="total_gain")
    assert trained.gains["times_taken"] == pytest.approx(total["times_taken"] / sum(total.values()), rel=1e-4)


def test_a_damaged_file_is_told(trained: Forest, tmp_path: Path) -> None:
    trained.save(tmp_path)
    whole, document = trained.text, json.loads(trained.text)
    trees = document["learner"]["gradient_booster"]["model"]["trees"]
    first = trees[0]
    for name, wrong in (("left_children", 0), ("right_children", 99), ("split_indices", 99), ("split_conditions", "x")):
        trees[0] = {**first, name: [wrong, *first[name][1:]]}
        (tmp_path / FILE).write_text(json.dumps(document))
        with pytest.raises(CorruptArtifactError, match="cannot be read"):
            Forest.load(tmp_path)
    damaged = [b"", b"{", b"{}", b"[1]", b"\xff", whole[: len(whole) // 2], whole.replace(b"times_taken", b"other")]
    for content in damaged:
        (tmp_path / FILE).write_bytes(content)
        with pytest.raises(CorruptArtifactError, match="cannot be read"):
            Forest.load(tmp_path)
    (tmp_path / FILE).unlink()
    with pytest.raises(CorruptArtifactError, match="cannot be read"):
        Forest.load(tmp_path)


def test_candidates_that_were_not_taken_are_drawn_alike() -> None:
    own = examples(6, requests=30, candidates=20).sampled(5, seed=0)
    group = np.repeat(np.arange(30), own.sizes)
    whole = examples(6, requests=30, candidates=20)
    assert np.bincount(group, own.taken).tolist() == whole.taken.reshape(30, 20).sum(axis=1).tolist()
    assert (np.bincount(group, 1 - own.taken) == 5).all()
    parts = whole.only(np.array([2, 5]))
    assert parts.sizes.tolist() == [20, 20]
    assert np.array_equal(parts.features[20:], whole.features[100:120])
    assert len(Examples.together([Examples.none(), parts]).taken) == 40
