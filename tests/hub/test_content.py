import numpy as np
import pytest
from hubspoke.errors import CorruptArtifactError
from hubspoke.hub.config import HubConfig
from hubspoke.hub.content import ContentSpace, fit_content_space
from hubspoke.hub.fusion import EncodedItems
from safetensors.numpy import load_file, save_file


def encoded(n=12, text=5, image=3):
    """The first item has no text, the second no picture."""
    rng = np.random.default_rng(3)
    made = EncodedItems(*(rng.standard_normal((n, width)).astype(np.float32) for width in (text, image)))
    made.text[0] = made.image[1] = 0
    return made


@pytest.mark.parametrize("kept", [(), ("text",), ("image",), ("text", "image")])
def test_a_space_of_some_modalities_embeds_those_alone_and_comes_back_from_its_file(tmp_path, kept):
    x = encoded()
    space = fit_content_space(x, HubConfig())
    own, whole = space.only(kept), space.embed(x)
    assert (own.text is None, own.image is None) == ("text" not in kept, "image" not in kept)
    blocks = {"text": whole[:, : space.text_rank], "image": whole[:, space.text_rank :]}
    np.testing.assert_array_equal(own.embed(x), np.concatenate([whole[:, :0], *(blocks[k] for k in kept)], axis=1))
    # Taken away from the items, a modality has no columns, no calibration and no weight.
    fitted = fit_content_space(x.only(kept), HubConfig())
    assert fitted.dimension == own.dimension and fitted.embed(x.only(kept)).shape == (12, own.dimension)
    assert x.only(kept).has_text.any() == ("text" in kept) and x.only(kept).has_image.any() == ("image" in kept)
    weights = [0.75] * 5 + [0.25] * 3 if len(kept) == 2 else [1.0] * own.dimension
    np.testing.assert_allclose(fitted.modality_weights(0.25), weights)
    save_file(fitted.tensors(), tmp_path / "space.safetensors")
    loaded = ContentSpace.from_tensors(load_file(tmp_path / "space.safetensors"))
    assert loaded.fingerprint == fitted.fingerprint
    np.testing.assert_array_equal(loaded.embed(x), fitted.embed(x))


def test_blocks_are_unit_or_zero_and_calibrated_on_the_items_that_have_them():
    x = encoded()
    space = fit_content_space(x, HubConfig())
    out = space.embed(x)
    assert out.dtype == np.float32 and (space.text_rank, space.image_rank, space.dimension) == (5, 3, 8)
    np.testing.assert_allclose(np.linalg.norm(out[:, :5], axis=1), [0] + [1] * 11, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(out[:, 5:], axis=1), [1, 0] + [1] * 10, atol=1e-5)
    np.testing.assert_allclose(space.text.mean, x.text[1:].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(space.image.mean, np.delete(x.image, 1, axis=0).mean(axis=0), atol=1e-6)
    assert ContentSpace(space.text, None).fingerprint != ContentSpace(None, space.text).fingerprint
    tensors = space.tensors()
    del tensors["image.transform"]
    with pytest.raises(CorruptArtifactError, match=r"image\.transform"):
        ContentSpace.from_tensors(tensors)
    config = HubConfig.model_validate({"calibration": {"max_rank": 4}, "image_calibration": {"max_rank": 2}})
    space = fit_content_space(x, config)
    assert (space.text_rank, space.image_rank) == (4, 2)


def two_views(n, seed=0, told=1.0):
    """Texts, and pictures that say the same as far as `told` goes."""
    rng = np.random.default_rng(seed)
    text, noise = (rng.standard_normal((n, 4)).astype(np.float32) for _ in range(2))
    return EncodedItems(text, np.concatenate([told * text + (1 - told) * noise, noise], axis=1))


def test_pictures_have_the_whole_share_where_texts_agree_and_none_where_they_do_not():
    config = HubConfig.model_validate({"image_share": 0.4, "image_agreement": 0.5})
    agreed, unrelated = (fit_content_space(two_views(300, told=told), config) for told in (1.0, 0.0))
    assert agreed.agreement > 0.5 and agreed.image_share(config) == 0.4
    assert abs(unrelated.agreement) < 0.1
    assert unrelated.image_share(config) == pytest.approx(0.4 * max(0.0, unrelated.agreement) / 0.5)
    # Half the agreement that is asked for is half the share; none asked for, or none known, is all of it.
    asked = config.model_copy(update={"image_agreement": min(1.0, 2 * agreed.agreement)})
    assert agreed.image_share(asked) == pytest.approx(0.4 * agreed.agreement / asked.image_agreement)
    assert unrelated.image_share(config.model_copy(update={"image_agreement": 0.0})) == 0.4
    few = fit_content_space(two_views(12), config)
    assert few.agreement is None and few.image_to_text is None and few.image_share(config) == 0.4
    assert not few.image_in_text_space(few.embed(two_views(12))).any()


def test_a_picture_without_words_is_found_by_words_and_all_of_it_comes_back_from_its_file(tmp_path):
    x = two_views(300)
    space = fit_content_space(x, HubConfig())
    new = two_views(40, seed=1)
    words = space.embed(new)[:, space.columns["text"]]
    told = space.image_in_text_space(space.embed(new.without("text")))
    np.testing.assert_allclose(np.linalg.norm(told, axis=1), 1.0, atol=1e-5)
    assert (np.argmax(told @ words.T, axis=1) == np.arange(40)).mean() > 0.8
    save_file(space.tensors(), tmp_path / "space.safetensors")
    loaded = ContentSpace.from_tensors(load_file(tmp_path / "space.safetensors"))
    assert loaded.agreement == pytest.approx(space.agreement) and loaded.fingerprint == space.fingerprint
    np.testing.assert_array_equal(loaded.image_to_text, space.image_to_text)
    # Of texts or pictures alone there is nothing to tell, and a space of an earlier version knows of neither.
    assert space.only({"text", "image"}).agreement == space.agreement
    assert space.only({"image"}).agreement is None and space.only({"text"}).image_to_text is None
    earlier = {name: own for name, own in space.tensors().items() if name not in ("image.agreement", "image.to_text")}
    assert ContentSpace.from_tensors(earlier).image_share(HubConfig()) == 0.4
