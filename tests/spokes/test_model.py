import numpy as np
import pytest
import torch
from hubspoke.catalog.sequences import History
from hubspoke.errors import UsageError
from hubspoke.hub.content import fit_content_space
from hubspoke.hub.fusion import EncodedItems
from hubspoke.spokes.config import SpokeConfig
from hubspoke.spokes.model import BehaviourModel
from hubspoke.spokes.training.batches import MASK, PADDING, Batch

ID_ROWS = np.array([1, 2, 3, 0, 0, 4, 5, 6, 7, 8, 9, 0], np.int64)
LONG = [[1, 2, 3], [4], [], [5, 6, 7, 8, 9, 10, 11, 0], [2, 1], [3, 3, 3, 3, 3, 3], [], [0, 1, 2, 3, 4]]


@pytest.fixture
def make(build):
    def model(moved=0.0, max_length=4, **config):
        shape = {"dimension": 8, "max_length": max_length, **config.pop("transformer", {})}
        return build(moved=moved, transformer=shape, id_dropout=0.5, **config).behaviour.model

    return model


@pytest.fixture
def model(make):
    return make()


@pytest.fixture
def own_inputs(model, encoded):
    return model.inputs(encoded, ID_ROWS)


def histories(*rows):
    return [np.array(row, np.int64) for row in rows]


def test_the_fusion_is_frozen_below_or_without_an_adapter_and_nothing_to_read_is_no_model(make, hub, encoded):
    frozen = {name for name, weight in make().named_parameters() if not weight.requires_grad}
    assert len(frozen) == 6 and all(name.startswith("content.fusion.") and "lora_" not in name for name in frozen)
    model = make(adapter=None)
    assert model.content.fusion is not hub.fusion
    assert not any(p.requires_grad for p in model.content.fusion.parameters())
    assert all(p.requires_grad for p in hub.fusion.parameters())
    blind = fit_content_space(hub.fusion.fuse(encoded.without("image")), hub.config)
    with pytest.raises(UsageError, match="has none of what an item is made of"):
        make(space=blind, content=("image",), ids=False)
    make(content=("image",), ids=False)


@pytest.mark.parametrize("missing", [None, "text", "image"])
def test_the_folded_layers_compute_what_the_adapted_fusion_computes(make, hub, encoded, missing):
    own = encoded.without(missing) if missing else encoded
    with torch.no_grad():
        for weight in hub.fusion.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) * 0.1)
    space = fit_content_space(hub.fusion.fuse(own), hub.config)
    # Before training the projection sees the content embedding.
    model, content = make(space=space), torch.from_numpy(space.embed(hub.fusion.fuse(own)))
    given = model.inputs(own, ID_ROWS).content
    torch.testing.assert_close(model.content.calibrated(given), content, atol=1e-5, rtol=0)
    torch.testing.assert_close(model.content(given), model.content.linear(content), atol=1e-5, rtol=0)
    model = make(0.3, space=space)
    with torch.no_grad():
        fused = model.content.fusion(torch.from_numpy(own.joined())).numpy()
    expected = torch.from_numpy(space.embed(EncodedItems(*np.split(fused, [hub.text_dimension], axis=1))))
    assert (expected - content).abs().max() > 0.05
    found = model.content.calibrated(model.inputs(own, ID_ROWS).content)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_an_item_vector_is_content_plus_a_residual_of_its_own_or_the_one_of_all_unknown_items(model, own_inputs):
    vectors = model.item_vectors(own_inputs)
    with torch.no_grad():
        content = model.content(own_inputs.content).numpy()
    np.testing.assert_allclose(vectors, content + model.ids.weight.detach().numpy()[ID_ROWS], atol=1e-6)
    assert np.abs(vectors[3] - vectors[4]).max() > 0.1  # both unknown
    np.testing.assert_allclose(vectors, model.item_vectors(own_inputs, batch_size=5), atol=1e-6)
    assert model.item_vectors(own_inputs.rows(torch.arange(0))).shape == (0, 8)
    # Dropout drops whole residuals, in training only.
    torch.manual_seed(0)
    residual = model.train().embed_items(own_inputs).detach() - torch.from_numpy(content)
    own = model.ids.weight.detach()[torch.from_numpy(ID_ROWS)]
    dropped = residual.abs().amax(dim=1) < 1e-6
    assert 0 < int(dropped.sum()) < 12
    torch.testing.assert_close(residual[~dropped], own[~dropped], atol=1e-6, rtol=0)


@pytest.mark.parametrize("rows", [([0, 5, 6], [7, 1, 2]), ([0, 5, 6], [7, PADDING, PADDING])])
def test_training_positions_are_what_serving_computes(model, own_inputs, rows):
    vectors, inputs = model.item_vectors(own_inputs), np.array(rows)
    batch = Batch(inputs, np.where(inputs == PADDING, PADDING, 0))  # every real position is asked for
    with torch.no_grad():
        hidden = model.encode_batch(torch.from_numpy(vectors[batch.rows]), batch)
    starts = [own[: t + 1] for own in rows for t in range(len(own)) if own[t] != PADDING]
    np.testing.assert_allclose(hidden.numpy(), model.session_vectors(vectors, histories(*starts)), atol=1e-5)


@pytest.fixture(params=["sasrec", "bert4rec"])
def either(request, make):
    """A model of each kind that reads everything and has been moved away from its start."""
    return make(0.3, 6, model=request.param, transformer={"time_bias": True, "event_types": True, "dwell": True})


def test_sessions_are_put_into_batches_by_length_and_come_back_in_order(either, encoded):
    vectors = either.item_vectors(either.inputs(encoded, ID_ROWS))
    known = [History(row, np.arange(len(row), dtype=np.int64) ** 2 * 7_000_000, row % 8) for row in histories(*LONG)]
    alone = [either.session_vectors(vectors, [history])[0] for history in known]
    for batch_size in (2, 3, 512):
        together = either.session_vectors(vectors, known, batch_size)
        np.testing.assert_allclose(together, alone, atol=1e-6, rtol=1e-6)
    assert [bool(row.any()) for row in together] == [bool(row) for row in LONG]
    assert np.abs(together - either.session_vectors(vectors, histories(*LONG))).max() > 1e-3


def test_vectors_that_may_not_be_written_are_read_without_a_warning(model, own_inputs):
    vectors = model.item_vectors(own_inputs)
    expected = model.session_vectors(vectors, histories([0, 5]))
    vectors.flags.writeable = False  # as those of an index are, which come from a file
    np.testing.assert_array_equal(model.session_vectors(vectors, histories([0, 5])), expected)


@pytest.mark.parametrize(("kind", "known"), [("sasrec", [2, 3, 4, 6]), ("bert4rec", [2, 3, 4])])
def test_a_session_is_read_at_its_last_event_or_at_a_mask_token_after_it(make, encoded, kind, known):
    model = make(model=kind)
    vectors = model.item_vectors(model.inputs(encoded, ID_ROWS))
    with torch.no_grad():
        shown = torch.from_numpy(vectors[known])
        shown = shown if model.mask is None else torch.cat([shown, model.mask[None]])
        expected = model.transformer(shown[None])[0, -1]
    # The window of four looks no further back.
    for found in model.session_vectors(vectors, histories([9, 9, 1, *known], known)):
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("either", ["bert4rec"], indirect=True)
def test_a_hidden_item_is_never_seen(either, encoded):
    vectors = torch.from_numpy(either.item_vectors(either.inputs(encoded, ID_ROWS)))
    inputs = np.array([[1, MASK, 3, MASK, 5], [MASK, 2, 6, PADDING, PADDING]])
    targets = np.array([[-1, 2, -1, 4, -1], [7, -1, -1, -1, -1]])
    batch = Batch(inputs, targets, np.arange(10).reshape(2, 5) ** 2 * 1_000_000, np.full((2, 5), 3))
    own, hidden = vectors[torch.from_numpy(batch.rows)], torch.from_numpy(batch.hidden[batch.valid])
    with torch.no_grad():
        out = either.encode_batch(own, batch)
        assert out.shape == (3, 8)
        # Whatever stands in the place of a hidden item, be it the item itself, does not matter.
        for planted in (own.new_full((8,), 9.0), vectors[4]):
            changed = torch.where(hidden[:, None], planted, own)
            torch.testing.assert_close(either.encode_batch(changed, batch), out, atol=0, rtol=0)
        # Events on both sides do.
        for shown in torch.nonzero(~hidden)[:, 0]:
            changed = own.clone()
            changed[shown, 0] += 3
            assert (either.encode_batch(changed, batch) - out).abs().max() > 1e-4


def test_initialisation(hub, space, make):
    torch.manual_seed(0)
    model = BehaviourModel(SpokeConfig.model_validate({"transformer": {"dimension": 8}}), hub.fusion, space, 2000)
    assert model.ids.weight.std().item() == pytest.approx(0.02, rel=0.03)
    bound = (6 / (64 + 8)) ** 0.5
    assert model.content.linear.weight.abs().max().item() == pytest.approx(bound, rel=0.02)
    assert not model.content.linear.bias.any()
    # Only BERT4Rec has a mask token, made last: every other weight starts where SASRec's starts.
    plain, cloze = make(), make(model="bert4rec")
    assert plain.mask is None and set(cloze.state_dict()) - set(plain.state_dict()) == {"mask"}
    assert all(torch.equal(weight, cloze.state_dict()[name]) for name, weight in plain.state_dict().items())
