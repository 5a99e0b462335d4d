"""What benchmarks over several categories share: their command line, and the workspace that holds them."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import hubspoke
from hubspoke.commands.progress import make_progress
from hubspoke.workflows.workspace import Workspace

from benchmarks.launch_floor import publish


def category(text: str, needed: str = "interactions.parquet") -> tuple[str, Path]:
    """The name and the folder of NAME=FOLDER."""
    name, _, folder = text.partition("=")
    if not folder or not (Path(folder) / needed).exists():
        tables = " and ".join(dict.fromkeys(("items.parquet", needed)))
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FOLDER of {tables}")
    return name, Path(folder)


def parser_of(description: str | None, needed: str = "interactions.parquet") -> argparse.ArgumentParser:
    """A command line with what all of them take."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    named = partial(category, needed=needed)
    parser.add_argument("category", nargs="+", type=named, metavar="NAME=FOLDER")
    parser.add_argument("--keep-workspace", metavar="DIR", help="work there, so that nothing is encoded twice")
    add_common(parser)
    return parser


def add_common(parser: argparse.ArgumentParser) -> None:
    """Where to run and where the report goes."""
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", metavar="FILE")
    parser.add_argument("--quiet", action="store_true")


def run(
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    measure: Callable[[argparse.Namespace], dict[str, Any]],
    markdown: Callable[[Mapping[str, Any]], str],
) -> None:
    """Measure, print, and write the report."""
    arguments = parser.parse_args(argv)
    arguments.category = dict(arguments.category)
    publish(partial(measure, arguments), markdown, arguments.out)


@contextmanager
def workspace(arguments: argparse.Namespace) -> Iterator[Workspace]:
    """A workspace with every category: the one that is kept, or a temporary one."""
    with tempfile.TemporaryDirectory(prefix="hubspoke-benchmark-") as folder:
        kept = arguments.keep_workspace or folder
        progress = make_progress(arguments.quiet)
        with hubspoke.open(create=True, progress=progress, workspace=kept, device=arguments.device) as ws:
            known = {domain.name for domain in ws.domain.list()}
            for name, source in arguments.category.items():
                if name not in known:
                    items, events = source / "items.parquet", source / "interactions.parquet"
                    pictures = {"images": str(source)} if (source / "images").is_dir() else {}
                    ws.domain.add(name, str(items), str(events) if events.exists() else None, **pictures)
            yield ws
