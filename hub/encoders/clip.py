"""Both halves of an open_clip dual encoder, named by tag, file, folder or repository. The door to open_clip."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from ...errors import HubspokeError, InvalidDataError, NotFoundError, UsageError
from ..config import ImageEncoderConfig, TextEncoderConfig
from . import weights
from .base import SplitEncoder, with_parts
from .image import ImageEncoder, open_picture
from .text import TextEncoder

CONFIG_FILE = "open_clip_config.json"
# Same order of preference as open_clip's own search of a local folder.
_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
)


class OpenClipText(TextEncoder):
    """The text half; it reads the context length that it was trained with."""

    def __init__(self, config: TextEncoderConfig, device: torch.device) -> None:
        self.source = source = find_open_clip(config.name.partition(":")[2])
        settings = {"kind": "open_clip text", **source.settings()}
        files = {"checkpoint": source.checkpoint}
        if source.tokenizer is not None:
            names = weights.tokenizer_files(weights.folder_names(source.tokenizer))
            files |= {name: source.tokenizer / name for name in names}
        super().__init__(config, int(source.config["embed_dim"]), device, settings, files)

    def _load(self) -> nn.Module:
        model: Any = self.source.load()
        model.visual = nn.Identity()  # the picture half would only take memory here
        return model  # type: ignore[no-any-return]

    @cached_property
    def tokenizer(self) -> Callable[[list[str]], Tensor]:
        """Texts to ids (B, context length), by open_clip's own tokenizer or a Hugging Face one."""
        from open_clip import tokenizer as kinds

        text = self.source.config["text_cfg"]
        context = int(text.get("context_length", kinds.DEFAULT_CONTEXT_LENGTH))
        extra = dict(text.get("tokenizer_kwargs") or {})
        made: Callable[[list[str]], Tensor]
        if self.source.tokenizer is None:
            made = kinds.SimpleTokenizer(context_length=context, **extra)
        else:
            extra |= {"tokenizer_mode": text.get("tokenizer_mode"), "trust_remote_code": False}
            made = kinds.HFTokenizer(str(self.source.tokenizer), context_length=context, **extra)
        return made

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        # This family pools at a fixed place, so every row keeps the full context length.
        ids: list[list[int]] = self.tokenizer(texts).tolist()
        return ids

    def _embed(self, tokens: Sequence[list[int]]) -> Tensor:
        model: Any = self.module
        vectors: Tensor = model.encode_text(torch.tensor(tokens, device=self.device))
        return vectors

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text up to the one that it is pooled at; no earlier place sees a later one."""
        if not len(texts):
            return []
        text = self._transformer()
        ids = torch.tensor(self._tokenize(list(texts)))  # (B, context length)
        if _pooling(text) == "argmax":
            ends = ids.argmax(dim=1)
        else:
            ends = (ids == (text.text_eos_id if hasattr(text, "text_eos_id") else text.eos_id)).int().argmax(dim=1)
        return [own[: end + 1] for own, end in zip(ids.tolist(), ends.tolist(), strict=True)]

    def _transformer(self) -> Any:
        """The module that reads texts, where it pools each at its end and reads from the left."""
        model: Any = self.module
        text = model if hasattr(model, "token_embedding") else getattr(model, "text", None)
        reads_left = getattr(text, "attn_mask", None) is not None and getattr(text, "cls_emb", None) is None
        pools_at_end = hasattr(text, "token_embedding") and _pooling(text) in ("argmax", "eos")
        if not (reads_left and pools_at_end and _has_plain_blocks(text)):
            raise self.not_adaptable("is no text encoder of open_clip's own that reads from the left and ")
        return text

    @property
    def depth(self) -> int:
        """Blocks of the transformer."""
        return len(self._transformer().transformer.resblocks)

    def split(self, layers: int) -> SplitEncoder:
        """Embeddings and first blocks; the last blocks and the projection."""
        self.require_depth(layers)
        text = self._transformer()
        blocks = list(text.transformer.resblocks)
        kept = with_parts(text.transformer, resblocks=nn.ModuleList(blocks[:-layers]))

        def states_of(ids: Tensor) -> Tensor:
            length = ids.shape[1]
            embedded = text.token_embedding(ids) + text.positional_embedding[:length]  # (B, T, H)
            states: Tensor = kept(embedded, attn_mask=text.attn_mask[:length, :length])
            return states

        return SplitEncoder(states_of, _TextHead(blocks[-layers:], text), _TARGETS, text.token_embedding.embedding_dim)


class OpenClipImage(ImageEncoder):
    """The picture half, with the resizing and normalisation that its weights ask for."""

    def __init__(self, config: ImageEncoderConfig, device: torch.device) -> None:
        self.source = source = find_open_clip(config.name.partition(":")[2])
        self.forced_size = config.image_size
        native = source.config["vision_cfg"].get("image_size", 224)
        self.image_size = config.image_size or (max(native) if isinstance(native, list | tuple) else int(native))
        settings = {"kind": "open_clip image", "image_size": self.forced_size, **source.settings()}
        files = {"checkpoint": source.checkpoint}
        super().__init__(config, int(source.config["embed_dim"]), device, settings, files)

    def _load(self) -> nn.Module:
        model: Any = self.source.load(self.forced_size)
        visual: nn.Module = model.visual
        return visual

    @cached_property
    def transform(self) -> Callable[[Image.Image], Tensor]:
        """RGB picture to (3, S, S), as open_clip evaluates this model."""
        from open_clip.transform import PreprocessCfg, image_transform_v2

        settings = PreprocessCfg(**self.module.preprocess_cfg)  # type: ignore[arg-type]
        made: Callable[[Image.Image], Tensor] = image_transform_v2(settings, is_train=False)
        return made

    def _prepare(self, path: str | Path) -> Tensor:
        return self.transform(open_picture(path, self.image_size))

    @property
    def depth(self) -> int:
        """Blocks of the transformer."""
        return len(self._transformer().transformer.resblocks)

    def _transformer(self) -> Any:
        """The module that looks at pictures, where its last blocks are such as an adapter takes."""
        visual: Any = self.module
        if not (hasattr(visual, "_embeds") and hasattr(visual, "_pool") and _has_plain_blocks(visual)):
            raise self.not_adaptable("is no ViT of open_clip's own and ")
        return visual

    def split(self, layers: int) -> SplitEncoder:
        """Patches and first blocks; the last blocks, the pooling and the projection."""
        self.require_depth(layers)
        visual = self._transformer()
        blocks = list(visual.transformer.resblocks)
        kept = with_parts(visual.transformer, resblocks=nn.ModuleList(blocks[:-layers]))

        def states_of(pictures: Tensor) -> Tensor:
            states: Tensor = kept(visual._embeds(pictures))  # (B, T, H) of the patches
            return states

        # How many places a picture has depends on its size, the patches and the class token: an empty one tells.
        with torch.inference_mode():
            side = self.image_size
            _, places, width = states_of(torch.zeros(1, 3, side, side, device=self.device)).shape
        return SplitEncoder(states_of, _VisionHead(blocks[-layers:], visual, width), _TARGETS, places * width)


# --- Where the weights are --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OpenClipSource:
    """Everything needed to rebuild one open_clip model without a network."""

    model: str  # a built-in architecture name, or `local-dir:FOLDER`
    config: Mapping[str, Any]  # the architecture (`embed_dim`, `vision_cfg`, `text_cfg`, ...)
    checkpoint: Path  # its weights
    preprocess: Mapping[str, Any] = field(default_factory=dict)  # asked for by the weights, over open_clip's defaults
    tokenizer: Path | None = None  # folder of a Hugging Face tokenizer; None for open_clip's own
    quick_gelu: bool = False  # the weights were trained with the approximate GELU

    def settings(self) -> dict[str, object]:
        """What beside the weights decides the output, as JSON."""
        return {"config": self.config, "preprocess": self.preprocess, "quick_gelu": self.quick_gelu}

    def load(self, image_size: int | None = None) -> nn.Module:
        """The dual encoder with its weights, on CPU in float32; `image_size` overrides the architecture's own."""
        import open_clip

        text = dict(self.config["text_cfg"])
        changed: dict[str, Any] = {}
        if name := text.get("hf_model_name"):
            # Building a Hugging Face text half asks the network for its config, unless it is named as a local folder.
            folder = Path(name)
            if not folder.is_dir():
                folder = weights.repository_folder(name, lambda names: [own for own in names if own == "config.json"])
            if "auto_map" in weights.read_json(folder / "config.json"):
                raise InvalidDataError(
                    f"Text encoder {name!r} needs code of its own to load; choose a model without auto_map."
                )
            changed = {"text_cfg": text | {"hf_model_name": str(folder), "hf_model_pretrained": False}}
        try:
            model: nn.Module = open_clip.create_model(
                self.model,
                pretrained=None if self.model.startswith("local-dir:") else str(self.checkpoint),
                force_image_size=image_size,
                # The size follows the architecture or `image_size`, never the weights' note.
                force_preprocess_cfg={key: value for key, value in self.preprocess.items() if key != "size"},
                force_quick_gelu=self.quick_gelu,
                weights_only=True,
                require_pretrained=True,
                **changed,
            )
        except Exception as error:  # open_clip raises plain RuntimeError, ValueError and torch's own errors
            line = weights.first_line(error)
            raise InvalidDataError(
                f"{self.checkpoint} cannot be read as open_clip {self.model} ({line}); check the pair."
            ) from error
        return model


def find_open_clip(reference: str) -> OpenClipSource:
    """Locate `MODEL/TAG`, `MODEL/PATH`, `hf-hub:ORG/NAME` or `local-dir:FOLDER`, fetching what is missing."""
    kind, _, rest = reference.partition(":")
    if kind not in ("hf-hub", "local-dir"):
        return _from_tag(reference)
    folder = weights.repository_folder(rest, _folder_files) if kind == "hf-hub" else Path(rest).expanduser()
    if not folder.is_dir():
        raise NotFoundError(f"open_clip folder {folder} does not exist; give the folder of {CONFIG_FILE}.")
    names = _folder_files(weights.folder_names(folder))
    if not names:
        raise InvalidDataError(f"open_clip folder {folder} lacks {CONFIG_FILE} or weights; add them.")
    content = weights.read_json(folder / CONFIG_FILE)
    config = content.get("model_cfg")
    if not isinstance(config, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= config.keys():
        raise InvalidDataError(f"{folder / CONFIG_FILE} has no complete model_cfg; export the model again.")
    return OpenClipSource(
        model=f"local-dir:{folder}",
        config=config,
        checkpoint=folder / names[1],
        preprocess=content.get("preprocess_cfg") or {},
        tokenizer=_tokenizer_folder(config, folder if weights.tokenizer_files(names) else None),
    )


def _folder_files(names: Sequence[str]) -> list[str]:
    """What a folder must hold: config, one checkpoint, tokenizer; nothing where it lacks one of the first two."""
    found = [name for name in _WEIGHTS if name in names][:1]
    return [CONFIG_FILE, *found, *weights.tokenizer_files(names)] if found and CONFIG_FILE in names else []


def _from_tag(reference: str) -> OpenClipSource:
    """A source from `MODEL/TAG` or `MODEL/PATH`."""
    import open_clip

    model, _, pretrained = reference.partition("/")
    if not model or not pretrained:
        raise UsageError(f"open_clip model {reference!r} names no weights; write open_clip:MODEL/TAG or MODEL/PATH.")
    config = open_clip.get_model_config(model)
    if config is None:
        raise NotFoundError(f"open_clip knows no architecture {model!r}; see open_clip.list_models().")
    tag = open_clip.get_pretrained_cfg(model, pretrained)
    checkpoint = _tag_checkpoint(tag) if tag else Path(pretrained).expanduser()
    if not checkpoint.is_file():
        raise NotFoundError(f"{pretrained!r} is neither a tag of open_clip's {model} nor a weights file; check it.")
    if checkpoint.suffix not in {".safetensors", ".pt", ".pth", ".bin"}:
        raise InvalidDataError(f"{checkpoint} is of a kind that is not loaded; give a .safetensors file.")
    keys = ("mean", "std", "interpolation", "resize_mode", "fill_color")
    return OpenClipSource(
        model=model,
        config=config,
        checkpoint=checkpoint,
        preprocess={key: tag[key] for key in keys if tag.get(key) is not None},
        tokenizer=_tokenizer_folder(config),
        quick_gelu=bool(tag.get("quick_gelu", False)),
    )


def _tokenizer_folder(config: Mapping[str, Any], beside: Path | None = None) -> Path | None:
    """The folder of the Hugging Face tokenizer that a model names, which may lie beside its weights."""
    name = config["text_cfg"].get("hf_tokenizer_name")
    if not name or beside:
        return beside if name else None
    return Path(name) if Path(name).is_dir() else weights.repository_folder(name, weights.tokenizer_files)


def _tag_checkpoint(tag: Mapping[str, Any]) -> Path:
    from open_clip.pretrained import download_pretrained_from_url

    repository, _, filename = str(tag.get("hf_hub") or "").rpartition("/")
    if repository:
        wanted = (f"{filename.rpartition('.')[0]}.safetensors", filename) if filename else _WEIGHTS

        def choose(names: Sequence[str]) -> list[str]:
            return [name for name in wanted if name in names][:1]

        folder = weights.repository_folder(repository, choose)
        return folder / choose(weights.folder_names(folder))[0]
    try:
        return Path(download_pretrained_from_url(tag["url"]))
    except (OSError, RuntimeError) as error:
        raise HubspokeError(
            f"{tag['url']} could not be downloaded ({weights.first_line(error)}); fetch it elsewhere and name the "
            "file: open_clip:MODEL/PATH."
        ) from error


# --- The last layers, as an adapter takes them ------------------------------------------------------------------------

# What the LoRA paper adapts (Hu et al., 2022, section 7.1).
_TARGETS = ("query", "value")


class _SplitAttention(nn.Module):
    """`nn.MultiheadAttention` of a tensor to itself, with its projections apart; all weights are shared.

    open_clip keeps query, key and value in one matrix. PEFT can adapt that whole, but writes into the frozen weights
    to do so and takes the rounding along when it goes back; views of its three parts need no writing.
    """

    def __init__(self, whole: nn.MultiheadAttention, causal: bool) -> None:
        super().__init__()
        layers = [nn.Linear(whole.embed_dim, whole.embed_dim, device="meta") for _ in range(3)]  # takes no memory
        parts = zip(layers, whole.in_proj_weight.chunk(3), whole.in_proj_bias.chunk(3), strict=True)
        for layer, weight, bias in parts:
            layer.weight, layer.bias = (nn.Parameter(own.detach(), requires_grad=False) for own in (weight, bias))
        self.query, self.key, self.value = layers
        self.out = whole.out_proj
        self.heads = whole.num_heads
        self.causal = causal

    def forward(self, x: Tensor) -> Tensor:
        shape = (*x.shape[:2], self.heads, -1)  # (B, T, H) to (B, T, heads, H / heads)
        query, key, value = (layer(x).view(shape).transpose(1, 2) for layer in (self.query, self.key, self.value))
        attended = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        out: Tensor = self.out(attended.transpose(1, 2).flatten(2))  # (B, T, H)
        return out


class _Block(nn.Module):
    """A residual block of open_clip with its attention split; (B, T, H) to (B, T, H)."""

    def __init__(self, block: Any, causal: bool) -> None:
        super().__init__()
        self.attention = _SplitAttention(block.attn, causal)
        self.ln_1, self.ls_1, self.ln_2, self.mlp, self.ls_2 = block.ln_1, block.ls_1, block.ln_2, block.mlp, block.ls_2

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls_1(self.attention(self.ln_1(x)))
        out: Tensor = x + self.ls_2(self.mlp(self.ln_2(x)))
        return out


class _VisionHead(nn.Module):
    """The last blocks, the pooling and the projection."""

    def __init__(self, blocks: list[Any], visual: Any, width: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(_Block(block, causal=False) for block in blocks))
        self.visual = with_parts(visual, transformer=None, conv1=None, ln_pre=None, patch_dropout=None)
        self.width = width

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:  # a picture is one place: the mask says nothing
        visual: Any = self.visual
        patches = states.reshape(len(states), -1, self.width)  # (B, 1, T * H) to (B, T, H)
        pooled: Tensor = visual._pool(self.blocks(patches))[0]  # (B, H)
        return pooled if visual.proj is None else pooled @ visual.proj


class _TextHead(nn.Module):
    """The last blocks, and the projection of the last real place."""

    def __init__(self, blocks: list[Any], text: Any) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(_Block(block, causal=True) for block in blocks))
        self.norm, self.projection = text.ln_final, text.text_projection

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        last = mask.sum(dim=1) - 1
        pooled: Tensor = self.norm(self.blocks(states)[torch.arange(len(states), device=states.device), last])  # (B, H)
        if isinstance(self.projection, nn.Linear):  # in newer models; older ones hold a matrix, or nothing
            pooled = self.projection(pooled)
        elif self.projection is not None:
            pooled = pooled @ self.projection
        return pooled


def _pooling(text: Any) -> str:
    return str(getattr(text, "text_pool_type", None) or getattr(text, "pool_type", ""))


def _has_plain_blocks(half: Any) -> bool:
    """Whether all blocks are such as `_Block` repeats."""
    blocks = getattr(getattr(half, "transformer", None), "resblocks", None)
    return isinstance(blocks, nn.ModuleList) and all(
        type(block).__name__ == "ResidualAttentionBlock"
        and isinstance(block.attn, nn.MultiheadAttention)
        and block.attn.in_proj_weight is not None
        and block.attn.in_proj_bias is not None
        and not hasattr(block, "ln_1_kv")
        for block in blocks
    )
