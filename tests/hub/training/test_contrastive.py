import numpy as np
import pytest
import torch
from hubspoke.catalog.sequences import Sequences, co_engaged_pairs
from hubspoke.hub.config import ContrastiveConfig, FusionConfig, HubConfig
from hubspoke.hub.content import fit_content_space
from hubspoke.hub.fusion import BaseFusion, EncodedItems
from hubspoke.hub.training.contrastive import CalibratedSpace, ContrastiveDomain, pair_loss
from hubspoke.hub.training.contrastive import train_fusion as train
from hubspoke.hub.training.losses import info_nce_loss
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.lists(st.integers(0, 8), min_size=1, max_size=6), max_size=4), st.integers(1, 4))
def test_pairs_are_neighbours_within_the_window_and_one_sequence_the_nearest_first(rows, window):
    lengths, users = [len(row) for row in rows], np.arange(len(rows))
    items = np.array([item for row in rows for item in row], np.int64)
    held = Sequences(items, np.arange(len(items)), np.cumsum([0, *lengths]), users, tuple(map(str, users)), 9)
    pairs = ([row[i], row[i + gap]] for gap in range(1, window + 1) for row in rows for i in range(len(row) - gap))
    assert co_engaged_pairs(held, window).tolist() == [[one, other] for one, other in pairs if one != other]


def domain(n=40, seed=0, image=True):
    """Items whose first coordinate is their group, drowned in noise; pairs lie within a group."""
    rng, group = np.random.default_rng(seed), np.arange(n) % 4
    text = rng.standard_normal((n, 12)).astype(np.float32)
    text[:, :4] += np.eye(4, dtype=np.float32)[group]
    encoded = EncodedItems(text, rng.standard_normal((n, 4 if image else 0)).astype(np.float32))
    partner = (np.arange(n)[:, None] + 4 * np.arange(1, 6)) % n
    pairs = np.stack([np.repeat(np.arange(n), 5), partner.ravel()], axis=1).astype(np.int64)
    return ContrastiveDomain(encoded, fit_content_space(encoded, HubConfig()), pairs)


def start(image=True):
    torch.manual_seed(0)
    return BaseFusion(12, 4 if image else 0, FusionConfig(hidden=16)).eval()


def run(domains, steps=60, seed=0, fusion=None, **kept):
    config = ContrastiveConfig(steps=steps, batch_size=32, learning_rate=1e-2, temperature=0.2)
    return train(fusion or start(), domains, config, image_share=0.3, seed=seed, **kept)


@pytest.mark.parametrize("image", [True, False])
def test_training_lowers_the_loss_on_a_planted_structure(image):
    progress, begin, domains = [], start(image), [domain(image=image), domain(seed=1, image=image)]
    before = {name: weight.clone() for name, weight in begin.state_dict().items()}
    fusion, losses = run(domains, fusion=begin, progress=lambda *done: progress.append(done))
    assert len(losses) == 60 and np.mean(losses[-10:]) < 0.9 * np.mean(losses[:10])
    assert progress[0] == (1, 60) and progress[-1] == (60, 60) and not fusion.training
    # A copy was trained.
    assert all(torch.equal(weight, before[name]) for name, weight in begin.state_dict().items())


def test_the_seed_decides():
    (a, la), (b, lb), (c, lc) = (run([domain()], steps=5, seed=seed) for seed in (1, 1, 2))
    assert la == lb != lc
    assert torch.equal(a.up.weight, b.up.weight) and not torch.equal(a.up.weight, c.up.weight)


@pytest.mark.parametrize("case", ["no steps", "no domains", "no pairs", "no content"])
def test_nothing_to_train_changes_nothing(case):
    own, begin = domain(), start()
    empty = own.encoded.without("text").without("image")
    domains = {
        "no domains": [],
        "no pairs": [ContrastiveDomain(own.encoded, own.space, own.pairs[:0])],
        "no content": [ContrastiveDomain(empty, fit_content_space(empty, HubConfig()), own.pairs)],
    }
    fusion, losses = run(domains.get(case, [own]), steps=0 if case == "no steps" else 3, fusion=begin)
    assert losses == []
    assert all(torch.equal(weight, begin.state_dict()[name]) for name, weight in fusion.state_dict().items())


@pytest.mark.parametrize(
    ("pairs", "same"),
    [
        ([[0, 1], [2, 3]], [[0, 0], [0, 0]]),  # anchors and positives all different: nothing is masked
        ([[0, 1], [2, 1]], [[0, 1], [1, 0]]),  # one positive twice: no negative of either anchor
        ([[0, 1], [0, 3]], [[0, 1], [1, 0]]),  # one anchor twice: both positives are its partners
        ([[0, 1], [2, 0]], [[0, 1], [0, 0]]),  # anchor 0 is itself the positive of pair 1
    ],
)
def test_the_loss_is_of_content_scores_and_an_item_is_no_negative_of_its_partners_or_of_itself(pairs, same):
    fusion, rows, own = start(), torch.tensor(pairs), domain()
    space = CalibratedSpace(own, 0.3, torch.device("cpu"))
    z, content = space.embed(space.x).numpy(), own.space.fused.embed(own.encoded)
    np.testing.assert_allclose(z @ z.T, (content * own.space.fused.modality_weights(0.3)) @ content.T, atol=1e-5)
    with torch.no_grad():
        z = space.embed(fusion(space.x))
        expected = info_nce_loss(z[rows[:, 0]] @ z[rows[:, 1]].T / 0.2, torch.tensor(same, dtype=torch.bool))
        assert pair_loss(fusion, space, np.array(pairs), 0.2).item() == pytest.approx(expected.item(), abs=1e-6)
