import numpy as np
import pytest
import torch
from hubspoke.errors import IncompatibleError
from hubspoke.hub.content import fit_content_space
from hubspoke.hub.drift import cosine_drift
from hubspoke.hub.fusion import EncodedItems
from hubspoke.spokes.config import SpokeConfig
from hubspoke.spokes.model import BehaviourModel
from hubspoke.spokes.spoke import Behaviour
from hubspoke.spokes.training.warm_start import Common, require_same_shapes, take_over

OWN = Common(same_hub=True, same_domain=True)


@pytest.fixture
def child(spoke, hub):
    """Another behavioural part over the same catalog: it knows item 0 no longer and item 10 in its place."""

    def make(space=None, **config):
        behaviour = spoke.behaviour
        settings = SpokeConfig.model_validate({**behaviour.config.model_dump(), **config})
        torch.manual_seed(3)
        model = BehaviourModel(settings, hub.fusion, space or spoke.space, 9).eval()
        return Behaviour(settings, model, ("item 10", *behaviour.known_items[:8]))

    return make


def vectors(behaviour, item_ids, encoded):
    return behaviour.model.item_vectors(behaviour.inputs(item_ids, encoded))


def taken(child, parent, *catalog, same_hub=True, same_domain=True):
    return take_over(child, child.inputs(*catalog), parent, parent.inputs(*catalog), Common(same_hub, same_domain))


def test_items_known_to_both_stand_where_they_stood(spoke, child, item_ids, encoded):
    own, parent = child(), spoke.behaviour
    found = taken(own, parent, item_ids, encoded)
    assert (found.parts, found.ids) == (("transformer", "adapter", "content projection", "item ids"), 8)
    ours, theirs = vectors(own, item_ids, encoded), vectors(parent, item_ids, encoded)
    # Items 1 to 8 are known to both, 9 and 11 to neither; 10 has a residual now, which begins as that of the unknown.
    np.testing.assert_allclose(ours[1:], theirs[1:], atol=1e-6)
    assert np.abs(ours[0] - theirs[0]).max() > 1e-3  # it has lost its residual
    histories = [np.array([1, 2, 5]), np.array([9])]
    found, expected = (one.model.session_vectors(theirs, histories) for one in (own, parent))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_another_domain_gives_only_the_unknown_residual_and_another_hub_no_adapter(spoke, child, item_ids, encoded):
    own, parent = child(), spoke.behaviour
    before = {name: weight.clone() for name, weight in own.model.state_dict().items()}
    found = taken(own, parent, item_ids, encoded, same_domain=False)
    assert found.ids == 0 and "item ids" not in found.parts
    assert torch.equal(own.model.ids.weight[1:], before["ids.weight"][1:])
    assert torch.equal(own.model.ids.weight[0], parent.model.ids.weight[0])
    own = child()
    found = taken(own, parent, item_ids, encoded, same_hub=False)
    fresh = {name for name in before if name.startswith("content.fusion.")}
    assert "adapter" not in found.parts and not fresh & found.weights
    assert all(torch.equal(own.model.state_dict()[name], before[name]) for name in fresh)


def test_another_calibration_is_made_up_for(spoke, child, hub, item_ids, encoded):
    blocks, rng = (encoded.text, encoded.image), np.random.default_rng(7)
    more = [np.concatenate([block, rng.standard_normal((40, 32)).astype(np.float32)]) for block in blocks]
    catalog = [*item_ids, *(f"more {i}" for i in range(40))], EncodedItems(*more)
    own = child(fit_content_space(hub.fusion.fuse(catalog[1]), hub.config))
    parts = taken(own, spoke.behaviour, *catalog).parts
    assert "content projection (fitted to another content space)" in parts
    found, expected = (vectors(one, *catalog)[1:9] for one in (own, spoke.behaviour))
    assert cosine_drift(found, expected)["q05"] > 0.9


def changed(config, **settings):
    return SpokeConfig.model_validate({**config.model_dump(), **settings})


def test_what_differs_in_shape_is_named(spoke):
    parent = spoke.behaviour.config
    shape = parent.transformer.model_dump()
    free = {"id_dropout": 0.5, "seed": 9, "training": {"learning_rate": 0.1}, "transformer": shape | {"dropout": 0.5}}
    for settings in ({}, free, {"adapter": None}):
        require_same_shapes(changed(parent, **settings), parent, "garden:3", OWN)
    # Positions know how long a window is.
    for setting, told in ({"blocks": 2}, "blocks 1 there and 2"), ({"max_length": 9}, "max_length 5 there and 9"):
        with pytest.raises(IncompatibleError, match=rf"garden:3 .*transformer.{told} here"):
            require_same_shapes(changed(parent, transformer=shape | setting), parent, "garden:3", OWN)
    # The step length of an encoder adapter is free.
    adapters = {}, {"learning_rate_factor": 0.5}, {"rank": 2}
    own, slow, other = (changed(parent, encoder_adapter=adapter) for adapter in adapters)
    require_same_shapes(slow, own, "shop:1", OWN)
    with pytest.raises(IncompatibleError, match=r"encoder_adapter.rank 8 there and 2 here"):
        require_same_shapes(other, own, "shop:1", OWN)
