from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from hubspoke.errors import UsageError
from hubspoke.hub.adapters.adapted import PREFIX, adapt_encoders
from hubspoke.hub.cache import EmbeddingCache
from hubspoke.hub.content import fit_content_space
from hubspoke.hub.distributed import World
from hubspoke.hub.fusion import EncodedItems
from hubspoke.hub.model import Hub
from hubspoke.spokes.config import SpokeConfig
from hubspoke.spokes.model import BehaviourModel
from hubspoke.spokes.parts import spoke_parts
from hubspoke.spokes.spoke import Behaviour, Spoke, launch_floor
from hubspoke.spokes.training.batches import training_batches
from hubspoke.spokes.training.loop import train_behaviour
from hubspoke.spokes.training.objective import Objective
from PIL import Image
from pydantic import ValidationError

BOTH = {"rank": 2, "encoders": ["text", "image"]}
SHAPE = {"transformer": {"dimension": 8, "max_length": 5}, "adapter": {"rank": 2}}
TITLES = ["red rose", "green fern in a pot", None, "steel spade", "clay pot, large", "red shoe"]
IDS, ROWS = [f"i{row}" for row in range(6)], np.arange(1, 7)
WALKS = [(0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (3, 4, 5, 0)] * 3
TRAINING = {"max_epochs": 4, "tokens_per_batch": 16, "negatives": 4, "learning_rate": 0.01}


def config(encoder_adapter=BOTH, **settings):
    return SpokeConfig.model_validate({**SHAPE, "encoder_adapter": encoder_adapter, **settings})


@pytest.fixture
def shop(hub, tmp_path):
    """The tests' hub, its vectors and states of six items, and their content space."""
    paths, rng = [tmp_path / f"{i}.png" for i in range(5)], np.random.default_rng(0)
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(path)
    # The first item has two pictures, the second none, the third one and no text, the fourth none.
    pictures = [paths[:2], [], [paths[2]], [], [paths[3]], [paths[4]]]
    items = pl.DataFrame({"item_id": IDS, "title": TITLES})
    encoded = hub.encode_items(items, pictures, EmbeddingCache(tmp_path / "cache"), heads={"text": 1, "image": 1})
    return hub, encoded, fit_content_space(hub.fusion.fuse(encoded), hub.config)


def model_of(shop, settings):
    hub, _, space = shop
    torch.manual_seed(0)
    adapted = adapt_encoders(hub, settings.heads, 2, settings.seed) if settings.heads else None
    return BehaviourModel(settings, hub.fusion, space, 6, encoders=adapted).eval()


def moved(model):
    """The adapters as a training might leave them."""
    for name, weight in model.named_parameters():
        if name.startswith(PREFIX) and weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.3, generator=torch.Generator().manual_seed(len(name)))
    return model


def spoke_of(shop, model, settings):
    return replace(launch_floor(shop[0], shop[2]), behaviour=Behaviour(settings, model, tuple(IDS)))


@pytest.mark.parametrize("fusion", ["concat", "gate", "cross-attention"])
def test_parts_sum_to_items_and_adapters_learn_in_half_precision_too(shop, fusion):
    model = moved(model_of(shop, config(fusion=fusion)))
    given = model.inputs(shop[1], ROWS)
    with torch.no_grad():
        parts = sum(model.item_parts(given).values())
    np.testing.assert_allclose(parts, model.item_vectors(given), atol=1e-5)
    model.train()
    for half in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            out, adapted = model.embed_items(given), model.through_encoders(given)
        assert {own.dtype for own in vars(adapted.content).values()} == {torch.float32}  # not the calibration
        out.float().square().sum().backward()
        assert all(p.grad is not None for n, p in model.named_parameters() if n.startswith(PREFIX) and p.requires_grad)


def test_training_moves_behaviour_and_leaves_the_floor(shop, sequences):
    settings = config({**BOTH, "learning_rate_factor": 1.0}, training=TRAINING, id_dropout=0.0)
    hub, encoded, _ = shop
    before, model = hub.fingerprint, model_of(shop, settings)
    start = spoke_of(shop, model, settings).embed_items(IDS, encoded)
    adapters = {n: p.clone() for n, p in model.named_parameters() if n.startswith(PREFIX)}
    train_behaviour(model, model.inputs(encoded, ROWS), sequences(*WALKS), settings, epochs=4)
    after = spoke_of(shop, model.eval(), settings).embed_items(IDS, encoded)
    changed = {n for n, p in model.named_parameters() if n in adapters and not torch.equal(p, adapters[n])}
    assert changed == {n for n in adapters if "lora_" in n}
    np.testing.assert_array_equal(after[:, 9:], start[:, 9:])  # the content block, out of the gradient's reach
    assert not np.allclose(after[:, :8], start[:, :8]) and hub.fingerprint == before


def test_what_is_not_asked_for_is_not_there(shop, sequences):
    settings, encoded, found = config(None, training=TRAINING), shop[1], []
    for given in (encoded, EncodedItems(encoded.text, encoded.image)):
        model = model_of(shop, settings)
        inputs = model.inputs(given, ROWS)
        assert inputs.encoded is None
        train_behaviour(model, inputs, sequences(*WALKS), settings, epochs=2)
        assert not any(name.startswith(PREFIX) for name in model.state_dict())
        found.append(spoke_of(shop, model.eval(), settings).embed_items(IDS, given))
    np.testing.assert_array_equal(*found)  # without the option the states change nothing, to the bit


def test_a_saved_spoke_loads_bit_for_bit(shop, tmp_path):
    hub, encoded, _ = shop
    settings = config()
    made = spoke_of(shop, moved(model_of(shop, settings)), settings)
    made.save(tmp_path)
    loaded = Spoke.load(tmp_path, Hub(hub.config, device="cpu", fusion=hub.fusion))
    assert loaded.heads == {"text": 1, "image": 1} and loaded.space_fingerprint == made.space_fingerprint
    assert spoke_of(shop, model_of(shop, settings), settings).space_fingerprint != made.space_fingerprint
    np.testing.assert_array_equal(loaded.embed_items(IDS, encoded), made.embed_items(IDS, encoded))


def test_the_parts_name_it(shop):
    settings = config({"rank": 2})
    parts = {part.name: part for part in spoke_parts(spoke_of(shop, model_of(shop, settings), settings), shop[0])}
    assert parts["encoder adapter"].parameters == 2 * 32 + 32 * 2 and parts["encoder adapter"].inherited is None
    assert "adapter on its last layers" in parts["text encoder"].inherited
    assert "adapter" not in parts["image encoder"].inherited
    with pytest.raises(UsageError, match="heads of the encoders are not those of the config"):
        BehaviourModel(settings, shop[0].fusion, shop[2], 6)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"content": ["image"]}, "adapts the text encoder, which content does not read"),
        ({"training": {"loss": "softmax"}}, "loss softmax embeds the whole catalog in every step"),
        ({"encoder_adapter": {"encoders": []}}, "at least 1 item"),
        ({"encoder_adapter": {"layers": 0}}, "greater than or equal to 1"),
    ],
)
def test_configs_that_make_no_sense(settings, sentence):
    with pytest.raises(ValidationError, match=sentence):
        config(**{"encoder_adapter": {}, **settings})


def test_equal_settings_are_equal():
    assert config({"encoders": ["image", "text", "text"]}) == config({"encoders": ["text", "image"]})
    old = SpokeConfig.from_stored({"trunk_adapter": {"rank": 2, "trunks": ["image"]}})  # as 0.1.0 stored it
    assert old.encoder_adapter == config({"rank": 2, "encoders": ["image"]}).encoder_adapter
    assert config({"layers": 2, "encoders": ["image"]}).heads == {"image": 2} and config(None).heads == {}


def test_a_step_reads_the_states_of_the_items_in_use_alone(shop, sequences):
    settings, seen = config(training={**TRAINING, "negatives": 1}, id_dropout=0.0), []
    model = model_of(shop, settings).train()
    objective = Objective(model, model.inputs(shop[1], ROWS), np.ones(6, np.int64), settings, World())
    model.adapted_encoders.register_forward_pre_hook(lambda _, given: seen.append(len(given[0].vectors)))
    objective.start(0)
    objective.loss(next(iter(training_batches(sequences((0, 1)), settings).epoch(0)))).backward()
    assert seen[0] in (2, 3)
