import numpy as np
import pytest
from hubspoke.errors import InvalidDataError
from hubspoke.hub.encoders.packed import read_sizes, read_tensors, read_vocabulary


def test_the_shape_is_told_by_the_first_bytes(packed_file):
    sizes = read_sizes(packed_file)
    assert (sizes.hidden, sizes.layers, sizes.heads, sizes.feed_forward) == (32, 2, 4, 64)
    assert (sizes.vocabulary, sizes.positions, sizes.token_types) == (15, 24, 2)
    assert sizes.epsilon == pytest.approx(1e-12)


def test_pieces_and_characters_come_back(packed_file):
    vocabulary = read_vocabulary(packed_file)
    assert vocabulary.pieces[7:9] == [("▁red", -3.0), ("▁shoe", -3.0)]
    assert (vocabulary.begin, vocabulary.padding, vocabulary.end, vocabulary.unknown) == (0, 1, 2, 3)
    assert "\N{FULLWIDTH LATIN CAPITAL LETTER R}e\N{SOFT HYPHEN}d".translate(vocabulary.characters) == "red"


def test_weights_of_four_bits_and_of_thirty_two_come_back(packed_file, packed_bert):
    tensors = read_tensors(packed_file)
    known = {
        "emb.word": "embeddings.word_embeddings.weight",
        "emb.type": "embeddings.token_type_embeddings.weight",
        "l0.q.w": "encoder.layer.0.attention.self.query.weight",
        "l1.fo.w": "encoder.layer.1.output.dense.weight",
        "l1.oln.b": "encoder.layer.1.output.LayerNorm.bias",
    }
    for name, full in known.items():
        np.testing.assert_array_equal(tensors[name], packed_bert.get_parameter(full).detach().numpy().reshape(-1))
    assert len(tensors) == 5 + 2 * 16 and all(own.dtype == np.float32 for own in tensors.values())


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda data: data[:30], "unpack_from requires"),
        (lambda data: b"GGUF" + data[4:], "begins with b'GGUF' 1, not b'E5S1' 1"),
        (lambda data: data[:4] + b"\x02" + data[5:], "begins with b'E5S1' 2"),
        (lambda data: data[:40] + b"\x40" + data[41:], "64 weights share a scale"),
        (lambda data: data[:-1], "buffer is smaller"),
        (lambda data: data.replace("▁red".encode(), b"\xff" * 6), "UnicodeDecodeError"),
    ],
)
def test_a_damaged_file_is_one_sentence(packed_file, tmp_path, damage, told):
    path = tmp_path / "damaged.bin"
    path.write_bytes(damage(packed_file.read_bytes()))
    with pytest.raises(InvalidDataError, match=told) as caught:
        read_sizes(path)
        read_tensors(path)
    assert str(caught.value).endswith("reinstall its package.")
