import numpy as np
import pytest
from hubspoke.errors import UsageError
from hubspoke.hub.adapters import states as states_module
from hubspoke.hub.adapters.states import ItemStates, base_fingerprint, item_states
from hubspoke.hub.cache import file_hashes, text_hashes

TEXTS = ["red shoe", "green garden hose red", "hose", "red shoe"]
# Three items: two inputs of 1 and 2 places, none, one of 1 place.
PLACES = np.arange(8, dtype=np.float32).reshape(4, 2)
RAGGED = ItemStates(PLACES, np.array([0, 1, 3, 4]), np.array([0, 2, 2, 3]))


def text_states(encoder, layers, texts, cache, progress=None, counts=None):
    counts = np.ones(len(texts), np.int64) if counts is None else np.array(counts, np.int64)
    return item_states(encoder, layers, texts, text_hashes(texts), counts, cache, progress)


def test_a_base_runs_once_per_input_ever_and_has_a_fingerprint_of_its_own(names, text_encoder, cache):
    encoder, seen = text_encoder(names["bert"]), []
    encoder.module.embeddings.register_forward_hook(lambda module, given, out: seen.extend(out))
    first = text_states(encoder, 1, TEXTS, cache)
    assert first.lengths.tolist() == [4, 6, 3, 4] and len(seen) == 3  # the fourth text is the first again
    again = text_states(encoder, 1, [*TEXTS, "garden"], cache)
    assert len(seen) == 4
    np.testing.assert_array_equal(again.rows(np.arange(4)).flat, first.flat)
    text_states(encoder, 2, TEXTS, cache)
    assert len(seen) == 7  # split elsewhere it is another base
    one, other = text_encoder(), text_encoder("tiny:1")
    found = {base_fingerprint(one, 1), base_fingerprint(one, 2), base_fingerprint(other, 1), one.fingerprint}
    assert len(found) == 4


def test_states_belong_to_their_items_and_must_fit_in_memory(text_encoder, image_encoder, cache, noise, monkeypatch):
    states = item_states(image_encoder(), 1, noise[:3], file_hashes(noise[:3]), np.array([2, 0, 1]), cache)
    assert states.inputs_of(np.arange(3))[1].tolist() == [0, 0, 2]
    calls = []
    text_states(text_encoder(), 1, TEXTS, cache, lambda done, total: calls.append((done, total)))
    assert calls[-1] == (4, 4) and [done for done, _ in calls] == sorted(done for done, _ in calls)
    states = text_states(text_encoder(), 1, ["red"], cache, counts=[0, 1, 0])
    assert len(states) == 3 and states.inputs_of(np.arange(3))[1].tolist() == [1]
    assert len(text_states(text_encoder(), 1, [], cache, counts=[0, 0])) == 2
    monkeypatch.setattr(states_module.os, "sysconf", lambda name: 2)
    with pytest.raises(UsageError, match=r"take 0\.0 GB and this machine has 0\.0 GB; train without encoder_adapter"):
        text_states(text_encoder(), 1, TEXTS, cache)


def test_items_and_inputs_of_ragged_states():
    own = RAGGED.rows(np.array([2, 1, 0, 2]))
    assert own.flat.tolist() == [[6, 7], [0, 1], [2, 3], [4, 5], [6, 7]]
    assert own.inputs.tolist() == [0, 1, 2, 4, 5] and own.items.tolist() == [0, 1, 1, 3, 4]
    assert own.inputs_of(np.arange(4))[1].tolist() == [0, 2, 2, 3] and len(own) == 4
    assert RAGGED.rows(np.zeros(0, np.int64)).flat.shape == (0, 2)
    inputs, owners = RAGGED.inputs_of(np.array([2, 1, 0, 2]))
    assert inputs.tolist() == [2, 0, 1, 2] and owners.tolist() == [0, 2, 2, 3]
    given, mask = RAGGED.take(np.array([0, 1]))  # padded
    assert given.tolist() == [[[0, 1], [0, 0]], [[2, 3], [4, 5]]] and mask.tolist() == [[True, False], [True, True]]
    own = RAGGED.without_inputs()
    assert len(own) == 3 and own.flat.shape == (0, 2) and own.inputs_of(np.arange(3))[0].tolist() == []
