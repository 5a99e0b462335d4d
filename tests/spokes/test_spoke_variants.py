"""What holds of every spoke, whatever its items are made of: content of either kind, IDs, attributes, statistics."""

import itertools

import numpy as np
import pytest
import torch
from hubspoke.hub.fusion import BaseFusion
from hubspoke.retrieval.base import ItemIndex
from hubspoke.spokes.explain import behaviour_parts, explain_scores, scores_without
from hubspoke.spokes.parts import spoke_parts
from hubspoke.spokes.spoke import Spoke
from hubspoke.spokes.training.loop import train_behaviour

BOTH = ("text", "image")
FEATURES = {"attributes": {"min_count": 1, "dropout": 0.0}, "statistics": {"dropout": 0.2}}
FUSIONS = [(BOTH, True, fitted, fusion) for fitted in (False, True) for fusion in ("gate", "cross-attention")]
CASES = [
    *(own for own in itertools.product([(), ("text",), ("image",), BOTH], [True, False], [False, True]) if any(own)),
    *[*FUSIONS, (BOTH, False, False, "cross-attention")],
]
VARIANTS = [
    {"content": content, "ids": ids, **(FEATURES if fitted else {}), **({"fusion": own[0]} if own else {})}
    for content, ids, fitted, *own in CASES
]
HISTORY = np.array([0, 1, 9, 5], np.int64)
ROWS = np.array([1, 4, 9, 3], np.int64)
NEW_PARTS = [
    *(({"fusion": kind}, {"item_fusion"}) for kind in ("gate", "cross-attention")),
    (FEATURES, {"features.attributes", "features.statistics"}),
    ({"model": "bert4rec"}, {"mask"}),
]


def named(variant):
    parts = [*variant["content"], *(["id"] if variant["ids"] else []), *(own for own in FEATURES if own in variant)]
    return " + ".join(parts) + f" by {variant.get('fusion', 'concat')}"


@pytest.fixture(params=VARIANTS, ids=named)
def variant(request, build):
    return build(**request.param)


@pytest.fixture
def vectors(variant, encoded, item_ids, items):
    return variant.embed_items(item_ids, encoded, items)


def test_its_vectors_and_parts_are_those_of_what_is_read(variant, vectors, hub, encoded, item_ids, items):
    config = variant.behaviour.config
    assert vectors.shape == (12, variant.dimension) == (12, 8 + 1 + 32 * len(config.content))
    assert np.isfinite(vectors).all()
    # Who is cold does not depend on whether the others have a residual.
    np.testing.assert_array_equal(vectors[:, 8], [0] * 9 + [1] * 3)
    queries = variant.embed_sessions(vectors, [HISTORY])
    assert queries.shape == (1, variant.dimension)
    best = ItemIndex.build(vectors, item_ids, variant.space_fingerprint).search(queries, 12)[0][0]
    assert best[1] == pytest.approx(float((vectors @ queries[0]).max()), abs=1e-4)
    for name in BOTH:
        found = variant.embed_items(item_ids, encoded.without(name), items)
        assert np.abs(found - vectors).max() > 0.1 if name in config.content else (found == vectors).all()
    own = {part.name for part in spoke_parts(variant, hub) if part.inherited is None}
    expected = {"calibration", "transformer", "mixture"}
    expected |= {"content projection", "adapter"} if config.content else set()
    expected |= {"item ids"} if config.ids else set()
    expected |= {"item fusion"} if config.fusion != "concat" else set()
    assert own == expected | ({"attribute encoder", "behaviour statistics"} if config.attributes else set())


def test_it_loads_bit_for_bit(variant, vectors, hub, encoded, item_ids, items, tmp_path):
    variant.save(tmp_path)
    assert (tmp_path / "adapter").exists() == bool(variant.content)
    loaded = Spoke.load(tmp_path, hub)
    np.testing.assert_array_equal(loaded.embed_items(item_ids, encoded, items), vectors)
    np.testing.assert_array_equal(loaded.embed_sessions(vectors, [HISTORY]), variant.embed_sessions(vectors, [HISTORY]))
    assert loaded.space_fingerprint == variant.space_fingerprint
    assert loaded.behaviour.config == variant.behaviour.config
    assert spoke_parts(loaded, hub) == spoke_parts(variant, hub)


def test_every_variant_is_a_space_of_its_own(build):
    prints = [build(**variant).space_fingerprint for variant in VARIANTS]
    assert len(set(prints)) == len(VARIANTS)


def test_its_scores_are_explained(variant, vectors, encoded, item_ids, items):
    config, model = variant.behaviour.config, variant.behaviour.model
    own = variant.behaviour.inputs(item_ids, encoded, items)
    with torch.inference_mode():
        parts = model.item_parts(own)
        torch.testing.assert_close(sum(parts.values()), model.embed_items(own), atol=1e-5, rtol=0)
    biased = config.content or config.fusion != "concat"
    expected = {*config.content, *(["bias"] if biased else []), *(["item id"] if config.ids else [])}
    assert set(parts) == expected | ({"attributes", "statistics"} if config.attributes else set())
    told = explain_scores(variant, vectors, HISTORY, ROWS)
    np.testing.assert_allclose(told.scores, vectors[ROWS] @ told.query, atol=1e-4)
    assert set(told.parts) == {"behaviour", "cold", *variant.content}
    few, own = [item_ids[row] for row in ROWS], items[ROWS.tolist()]
    summed = behaviour_parts(variant, told.query, variant.behaviour.inputs(few, encoded.rows(ROWS), own))
    np.testing.assert_allclose(sum(summed.values()), told.parts["behaviour"], atol=1e-4)
    assert set(scores_without(variant, told.query, few, encoded.rows(ROWS), own)) == set(variant.content)


@pytest.mark.parametrize("kind", ["sasrec", "bert4rec"])
@pytest.mark.parametrize("asked", VARIANTS, ids=named)
def test_it_trains_every_weight_of_its_own_and_no_other(build, sequences, encoded, item_ids, items, asked, kind):
    training = {"max_epochs": 2, "negatives": 4, "learning_rate": 0.01, "tokens_per_batch": 8}
    made = build(**asked, model=kind, training=training, id_dropout=0.2).behaviour
    data = sequences([0, 1, 2, 9], [3, 4, 5], [6, 7, 8, 1, 2], [2, 0, 10], n_items=12)
    before = {name: weight.clone() for name, weight in made.model.named_parameters()}
    run = train_behaviour(made.model, made.inputs(item_ids, encoded, items), data, made.config)
    assert run.windows_per_second > 0
    moved = {name for name, weight in made.model.named_parameters() if not torch.equal(weight, before[name])}
    assert moved == {name for name, weight in made.model.named_parameters() if weight.requires_grad and weight.numel()}
    assert all(weight.isfinite().all() for weight in made.model.parameters())


@pytest.mark.parametrize(("option", "parts"), NEW_PARTS)
def test_an_option_starts_as_nothing_beside_weights_as_without_it(build, encoded, item_ids, items, option, parts):
    plain, made = build(moved=0.0), build(moved=0.0, **option)
    ours, theirs = (own.behaviour.model.state_dict() for own in (plain, made))
    assert all(torch.equal(weight, theirs[name]) for name, weight in ours.items())
    assert all(any(name.startswith(part) for name in set(theirs) - set(ours)) for part in parts)
    assert all(name.startswith(tuple(parts)) for name in set(theirs) - set(ours))
    found, expected = (own.embed_items(item_ids, encoded, items) for own in (made, plain))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 if "fusion" in option else 0)


def test_without_content_no_step_touches_any(build, encoded, item_ids, monkeypatch):
    made = build(content=()).behaviour
    assert made.model.content is None and not [name for name in made.model.state_dict() if "content" in name]
    monkeypatch.setattr(BaseFusion, "forward", lambda *_: pytest.fail("the fusion ran"))
    inputs = made.inputs(item_ids, encoded)
    assert inputs.content is None and inputs.content_columns == 0
    made.model.item_vectors(inputs)


def test_without_ids_there_is_no_table_and_an_item_is_its_content(build, encoded, item_ids):
    made = build(ids=False)
    assert made.behaviour.model.ids.weight.shape == (0, 8) and len(made.behaviour.known_items) == 9
    vectors = made.embed_items(item_ids, encoded)
    with torch.inference_mode():
        content = made.behaviour.model.content(made.behaviour.inputs(item_ids, encoded).content).numpy()
    np.testing.assert_allclose(vectors[:, :8], content, atol=1e-6)
    # Under another name nothing but the flag changes.
    renamed = made.embed_items(["never seen"], encoded.rows(np.array([0])))
    np.testing.assert_allclose(np.delete(renamed[0], 8), np.delete(vectors[0], 8), atol=1e-5)
    assert renamed[0, 8] == 1 and vectors[0, 8] == 0
