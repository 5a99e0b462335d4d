import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hubspoke.errors import CorruptArtifactError, UsageError
from hubspoke.spokes.features.attributes import fit_vocabulary
from hubspoke.spokes.features.items import ItemFeatures
from hubspoke.spokes.model import BehaviourModel
from hubspoke.spokes.parts import spoke_parts
from hubspoke.spokes.spoke import Behaviour, Spoke
from hubspoke.spokes.training.loop import train_behaviour

ON = {"attributes": {"min_count": 1, "dropout": 0.0}, "statistics": {"dropout": 0.0}}


def test_items_of_a_newer_catalog_and_refused_rows_of_others_or_none(build, encoded, items, item_ids):
    made, order = build(**ON), np.array([7, 2, 0])
    before = made.embed_items(item_ids, encoded, items)
    named = {"item_id": ["item 7", "item 2", "new"], "brand": ["brand 1", "nobody", "nobody"]}
    newer = items[order.tolist()].with_columns(**{name: pl.Series(own) for name, own in named.items()})
    after = made.embed_items(newer["item_id"].to_list(), encoded.rows(order), newer)
    np.testing.assert_allclose(after[0], before[7], atol=1e-5)
    assert np.abs(after[1] - before[2])[:8].max() > 1e-3 and np.isfinite(after).all()
    np.testing.assert_allclose(after[1, 8:], before[2, 8:], atol=1e-5)
    for wrong in (None, items.reverse(), items.head(3)):
        with pytest.raises(UsageError, match="item table"):
            made.embed_items(item_ids, encoded, wrong)
    statistics = build(statistics=ON["statistics"])
    assert not statistics.reads_attributes and made.reads_attributes
    assert statistics.embed_items(item_ids, encoded).shape == (12, statistics.dimension)


def test_the_fingerprints_follow_what_was_fitted(build, hub):
    made = build(**ON)
    features, names = made.behaviour.features, {part.name: part.fingerprint for part in spoke_parts(made, hub)}
    fields = features.vocabulary.categorical[0].model_copy(update={"values": ("brand 2", "brand 1", "brand 0")})
    swapped = replace(features, vocabulary=features.vocabulary.model_copy(update={"categorical": (fields,)}))
    counted = replace(features, statistics=replace(features.statistics, prior=features.statistics.prior + 1))
    for other, part in ((swapped, "attribute encoder"), (counted, "behaviour statistics")):
        changed = replace(made, behaviour=replace(made.behaviour, features=other))
        assert changed.space_fingerprint != made.space_fingerprint
        own = {p.name: p.fingerprint for p in spoke_parts(changed, hub)}
        assert {name for name in names if names[name] != own[name]} == {part}


def test_a_catalog_without_any_attribute_is_allowed(build, spoke, hub, space, encoded, items, item_ids, tmp_path):
    bare = items.with_columns(brand=pl.lit(None, pl.String), price=pl.lit(None, pl.Float64))
    on = build(**ON).behaviour
    config, features = on.config, ItemFeatures(fit_vocabulary(bare, on.config.attributes), on.features.statistics)
    model = BehaviourModel(config, hub.fusion, space, 9, features).eval()
    made = replace(spoke, behaviour=Behaviour(config, model, spoke.behaviour.known_items, features))
    made.save(tmp_path)
    vectors = made.embed_items(item_ids, encoded, items)
    np.testing.assert_array_equal(Spoke.load(tmp_path, hub).embed_items(item_ids, encoded, items), vectors)


@pytest.mark.parametrize("name", ["vocabulary.json", "statistics.json", "statistics.safetensors"])
@pytest.mark.parametrize("damage", [b"", b"garbage", b"{}", None], indirect=True)
def test_damaged_features_are_corrupt(build, hub, tmp_path, name, damage):
    build(**ON).save(tmp_path)
    damage(tmp_path / name)
    with pytest.raises(CorruptArtifactError, match="--force"):
        Spoke.load(tmp_path, hub)


def test_a_config_from_before_there_were_features_loads(spoke, hub, encoded, item_ids, tmp_path):
    spoke.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["attributes"], config["statistics"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = Spoke.load(tmp_path, hub)
    np.testing.assert_array_equal(loaded.embed_items(item_ids, encoded), spoke.embed_items(item_ids, encoded))
    assert loaded.space_fingerprint == spoke.space_fingerprint


def test_attributes_alone_learn_a_cycle(build, encoded, items, item_ids, cycle, known_by_heart):
    on = {"attributes": ON["attributes"], "transformer": {"dimension": 16, "max_length": 6, "dropout": 0.0}}
    training = {"tokens_per_batch": 64, "loss": "softmax", "learning_rate": 1e-2}
    made = build(moved=0.0, content=(), ids=False, training=training, **on).behaviour
    inputs = made.inputs(item_ids, encoded, items)
    train_behaviour(made.model, inputs, cycle, made.config, epochs=80)
    assert known_by_heart(made.model, inputs) == 1.0
