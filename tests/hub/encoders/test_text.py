import json

import numpy as np
import open_clip
import polars as pl
import pytest
import torch
from hubspoke.errors import InvalidDataError, NotFoundError, UsageError
from hubspoke.hub.encoders.loading import TextEncoderConfig, load_text_encoder
from hubspoke.hub.encoders.text import item_texts, pad
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from transformers import BertConfig, BertModel

VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *["red", "blue", "green", "shirt", "shoe", "hose", "garden", "dog", "food", "a", "b", "c"],
]


@pytest.fixture(scope="module")
def bert_folder(tmp_path_factory):
    """A random two-layer BERT with a vocabulary of a dozen words, saved as any user would save one."""
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
    )
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 40})
    )
    return folder


def encoder(folder, **settings):
    return load_text_encoder(TextEncoderConfig(name=f"hf:{folder}", **settings), "cpu")


def copy_of(folder, target):
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


class TestTransformerText:
    def test_is_the_mean_of_the_real_tokens(self, bert_folder):
        text = encoder(bert_folder)
        ids = torch.tensor([[2, 5, 8, 3]])  # [CLS] red shirt [SEP]
        hidden = BertModel.from_pretrained(bert_folder).eval()(input_ids=ids).last_hidden_state
        expected = torch.nn.functional.normalize(hidden.mean(dim=1), dim=-1).detach().numpy()
        np.testing.assert_allclose(text.encode(["Red shirt"]), expected, atol=1e-6)

    def test_order_and_batch_size_do_not_change_a_vector(self, bert_folder):
        texts = ["dog food", "", "red blue green shirt shoe hose", "a", "garden hose a b c", "dog food", "🙂 unknown"]
        whole = encoder(bert_folder).encode(texts)
        np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1.0, atol=1e-6)
        np.testing.assert_allclose(encoder(bert_folder, batch_size=2).encode(texts), whole, atol=1e-6)
        for row, one in enumerate(texts):
            np.testing.assert_allclose(encoder(bert_folder).encode([one])[0], whole[row], atol=1e-6)

    def test_long_texts_are_cut_at_the_cap_and_at_the_model(self, bert_folder):
        short = encoder(bert_folder, max_tokens=4)
        a, b = short.encode(["red shirt hose", "red shirt dog food"])
        np.testing.assert_allclose(a, b, atol=1e-6)
        assert encoder(bert_folder, max_tokens=500).encode(["a b c " * 100]).shape == (1, 16)

    def test_fingerprint_and_width_build_no_model(self, bert_folder, monkeypatch):
        text = encoder(bert_folder)
        monkeypatch.setattr(type(text), "_load", lambda self: pytest.fail("the model was built"))
        assert text.dimension == 16
        assert len(text.fingerprint) == 64
        assert text.encode([]).shape == (0, 16)

    def test_fingerprint_covers_what_changes_the_output(self, bert_folder, tmp_path):
        base = encoder(bert_folder).fingerprint
        assert encoder(bert_folder, max_tokens=32).fingerprint != base
        assert encoder(bert_folder, batch_size=3).fingerprint == base
        other = copy_of(bert_folder, tmp_path / "other")
        assert encoder(other).fingerprint == base
        (other / "vocab.txt").write_text("\n".join(reversed(VOCABULARY)) + "\n")
        assert encoder(other).fingerprint != base

    def test_first_token_pooling_where_the_folder_asks_for_it(self, bert_folder, tmp_path):
        folder = copy_of(bert_folder, tmp_path / "first")
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
        hidden = BertModel.from_pretrained(bert_folder).eval()(input_ids=torch.tensor([[2, 5, 3]])).last_hidden_state
        expected = torch.nn.functional.normalize(hidden[:, 0], dim=-1).detach().numpy()
        np.testing.assert_allclose(encoder(folder).encode(["red"]), expected, atol=1e-6)
        assert encoder(folder).fingerprint != encoder(bert_folder).fingerprint

    def test_progress_counts_to_the_end(self, bert_folder):
        calls = []
        encoder(bert_folder, batch_size=2).encode(["a", "b", "c"], lambda done, total: calls.append((done, total)))
        assert calls == [(2, 3), (3, 3)]

    def test_bad_folders_are_refused_in_one_sentence(self, bert_folder, tmp_path):
        with pytest.raises(NotFoundError, match="does not exist; give the folder"):
            encoder(tmp_path / "nowhere")
        with pytest.raises(InvalidDataError, match="lacks config"):
            encoder(tmp_path)
        broken = copy_of(bert_folder, tmp_path / "broken")
        (broken / "model.safetensors").write_bytes(b"not weights")
        with pytest.raises(InvalidDataError, match="cannot be loaded from"):
            encoder(broken).encode(["a"])
        (broken / "config.json").write_text("{")
        with pytest.raises(InvalidDataError, match="cannot be read as JSON"):
            encoder(broken)

    def test_code_that_comes_with_a_model_is_never_run(self, bert_folder, tmp_path):
        folder = copy_of(bert_folder, tmp_path / "code")
        config = json.loads((folder / "config.json").read_text())
        own = {"model_type": "custom", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
        (folder / "config.json").write_text(json.dumps(config | own))
        (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
        with pytest.raises(InvalidDataError, match="without code of its own"):
            encoder(folder).encode(["a"])
        assert not (tmp_path / "ran").exists()


@pytest.fixture
def dual_folder(bert_folder, tmp_path):
    """An open_clip dual encoder whose text half is a Hugging Face model, with that model's files beside it."""
    text = {"hf_model_name": str(bert_folder), "hf_tokenizer_name": str(bert_folder), "hf_proj_type": "linear"}
    config = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
        "text_cfg": text | {"hf_pooler_type": "mean_pooler", "context_length": 16},
    }
    (tmp_path / "dual-test-encoder.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "dual-test-encoder.json")
    model = open_clip.create_model("dual-test-encoder", pretrained_hf=False)
    folder = tmp_path / "dual"
    folder.mkdir()
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    return folder, model.eval()


class TestOpenClipWithTransformerText:
    def test_is_open_clips_own_output(self, bert_folder, dual_folder):
        folder, model = dual_folder
        text = load_text_encoder(TextEncoderConfig(name=f"open_clip:local-dir:{folder}"), "cpu")
        ids = open_clip.tokenizer.HFTokenizer(str(bert_folder), context_length=16)(["red shirt", "dog food"])
        expected = model.encode_text(ids, normalize=True).detach().numpy()
        np.testing.assert_allclose(text.encode(["red shirt", "dog food"]), expected, atol=1e-6)

    def test_code_that_comes_with_a_text_half_is_never_run(self, bert_folder, dual_folder, tmp_path):
        folder, _ = dual_folder
        own = copy_of(bert_folder, tmp_path / "own")
        config = json.loads((own / "config.json").read_text())
        (own / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoConfig": "own.Config"}}))
        whole = json.loads((folder / "open_clip_config.json").read_text())
        whole["model_cfg"]["text_cfg"]["hf_model_name"] = str(own)
        (folder / "open_clip_config.json").write_text(json.dumps(whole))
        text = load_text_encoder(TextEncoderConfig(name=f"open_clip:local-dir:{folder}"), "cpu")
        with pytest.raises(InvalidDataError, match="needs code of its own"):
            text.encode(["red shirt"])


def test_packaged_minilm_knows_meaning():
    text = load_text_encoder(TextEncoderConfig(), "cpu")
    assert text.dimension == 384
    shoe, sneaker, hose = text.encode(["running shoes for men", "men's sneakers", "garden hose 20 m"])
    assert shoe @ sneaker > 0.6 > 0.3 > shoe @ hose


def test_pad_fills_on_the_right():
    ids, mask = pad([[5, 6, 7], [8]], 9)
    assert ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


ITEM = {
    "title": "TI-83 Calculator",
    "brand": "Texas Instruments",
    "category_path": ["Office", "Calculators"],
    "description": "Plots graphs.",
    "attributes": [{"key": "colour", "value": "black"}, {"key": "kind", "value": "calculator"}],
}
SCHEMA = {
    "title": pl.String,
    "brand": pl.String,
    "category_path": pl.List(pl.String),
    "description": pl.String,
    "attributes": pl.List(pl.Struct({"key": pl.String, "value": pl.String})),
}


def text_of(fields=None, max_characters=2000, **changes):
    frame = pl.DataFrame([ITEM | changes], schema=SCHEMA)
    extra = {} if fields is None else {"fields": fields}
    return item_texts(frame, max_characters=max_characters, **extra)[0]


class TestItemTexts:
    def test_parts_in_order(self):
        assert text_of() == "TI-83 Calculator. Texas Instruments. Office > Calculators. Plots graphs."

    def test_empty_parts_are_left_out(self):
        assert text_of(brand=None, category_path=[], description="  ") == "TI-83 Calculator"
        assert text_of(title=None, brand=None, category_path=None, description=None) == ""
        assert text_of(title="", description=None) == "Texas Instruments. Office > Calculators"

    def test_a_part_in_the_title_is_not_repeated(self):
        assert (
            text_of(title="Texas-instruments TI-83", category_path=None, description=None) == "Texas-instruments TI-83"
        )

    def test_only_whole_words_count_as_repeated(self):
        assert text_of(title="Onion rings", brand="On", category_path=None, description=None) == "Onion rings. On"

    def test_attributes_on_request(self):
        assert text_of(["title", "attributes"]) == "TI-83 Calculator. colour: black"
        assert text_of(["attributes"], attributes=None) == ""

    def test_a_sentence_end_is_not_doubled(self):
        assert text_of(["title", "brand"], title="Wow!") == "Wow! Texas Instruments"

    def test_text_is_normalised(self):
        assert text_of(["title"], title="Cafe\u0301\x00 \t\n  cup\u2028big") == "Café cup big"

    def test_cut_at_a_space(self):
        assert text_of(["title"], 12, title="red cotton shirt") == "red cotton"
        assert text_of(["title"], 10, title="red cotton shirt") == "red cotton"
        assert text_of(["title"], 5, title="Donaudampfschiff") == "Donau"

    def test_missing_columns_count_as_empty(self):
        assert item_texts(pl.DataFrame({"title": ["a", "b"]})) == ["a", "b"]
        assert item_texts(pl.DataFrame({"item_id": ["1"]})) == [""]
        assert item_texts(pl.DataFrame(schema=SCHEMA)) == []

    def test_a_path_given_as_text_is_taken_as_it_is(self):
        assert item_texts(pl.DataFrame({"title": ["a"], "category_path": ["x > y"]})) == ["a. x > y"]

    def test_unknown_fields_are_refused(self):
        with pytest.raises(UsageError, match="'colour'"):
            text_of(["colour"])
        with pytest.raises(UsageError, match="max_characters is 0"):
            text_of(max_characters=0)

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.tuples(st.none() | st.text(), st.none() | st.text(), st.none() | st.lists(st.text(max_size=5)))),
        st.integers(1, 40),
    )
    def test_any_text_gives_one_short_printable_line(self, rows, cap):
        rows = [tuple(_storable(value) for value in row) for row in rows]
        schema = {name: SCHEMA[name] for name in ("title", "brand", "category_path")}
        texts = item_texts(pl.DataFrame(rows, schema=schema, orient="row"), max_characters=cap)
        assert len(texts) == len(rows)
        assert all(len(text) <= cap and text == text.strip() and "\n" not in text for text in texts)


def _storable(value):
    """Tables hold valid UTF-8 only, so lone surrogates cannot reach the function."""
    if isinstance(value, list):
        return [_storable(own) for own in value]
    return value if value is None else value.encode("utf-8", "replace").decode()
