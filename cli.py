"""The command line: nouns as groups, verbs as commands, each imported only when it is called."""

from __future__ import annotations

import gc
import signal
import sys
import warnings
from typing import NoReturn

import click

from .commands.groups import RootGroup
from .commands.streams import prepare_streams
from .version import __version__

# Importing makes hundreds of thousands of objects that never become garbage; at Python's default the collector would
# walk over them a hundred times, a tenth of a second of every command.
COLLECT_AFTER = 50_000

COMMANDS: dict[str, tuple[str, str, str]] = {
    "demo": (".setup", "demo", "The whole story on real data, in a few minutes."),
    "init": (".setup", "init", "Make a workspace, or bring its registry up to date."),
    "doctor": (".setup", "doctor", "Look whether everything needed is in order."),
    "domain": (".domain", "domain", "Product categories."),
    "data": (".data", "data", "Snapshots of items and events."),
    "hub": (".hub", "hub", "The shared encoders and their versions."),
    "spoke": (".spoke", "spoke", "One category's recommender and its versions."),
    "launch": (".launch", "launch", "From a catalog to recommendations in one command."),
    "index": (".index", "index", "Vector indexes."),
    "rerank": (".rerank", "rerank", "What puts a spoke's candidates in order."),
    "recommend": (".recommend", "recommend", "What to show next to a session or a user."),
    "similar": (".recommend", "similar", "The items nearest to an item."),
    "search": (".recommend", "search", "The items most like a description or a picture."),
    "explain": (".explain", "explain", "Why a category is shown what it is shown."),
    "rules": (".rules", "rules", "What a category's lists hide, begin with and limit."),
    "evaluate": (".evaluate", "evaluate", "Measure recommenders under a named protocol."),
    "gate": (".gate", "gate", "What a version must have shown before it is promoted."),
    "experiment": (".experiment", "experiment", "Two releases shown to parts of the shoppers."),
    "promote": (".release", "promote", "Point an alias at a version."),
    "rollback": (".release", "rollback", "Point an alias back at what it pointed at before."),
    "history": (".release", "history", "Every move of a domain's aliases."),
    "serve": (".serve", "serve", "Recommendations over HTTP."),
    "console": (".console", "console", "The workspace in a browser."),
    "key": (".key", "key", "Keys of those who may ask the service."),
    "lineage": (".lineage", "lineage", "What came from what."),
    "bundle": (".bundle", "bundle", "A release and its lineage in one file, for another registry."),
    "gc": (".gc", "gc", "Remove artifacts that nothing refers to."),
    "registry": (".registry", "registry", "The database behind it all."),
}


@click.group(
    cls=RootGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: hubspoke demo",
)
@click.version_option(__version__, prog_name="hubspoke")
def cli() -> None:
    """Launch new product categories with recommendation-grade embeddings.

    One hub understands every product's text and pictures, one spoke per category learns its shoppers' behaviour, and
    a registry knows how each version was made. Results go to stdout, progress to stderr; every command takes --json.

    \b
    Exit codes: 0 done, 1 failed, 2 usage, 3 quality gate not met, 4 invalid data,
    5 not found, 6 incompatible, 7 missing extra, 8 locked, 130 interrupted.
    """


def main() -> NoReturn:
    """Run the command line; a request to terminate ends it like Ctrl-C, with everything cleaned up."""
    gc.set_threshold(COLLECT_AFTER, 20, 20)
    prepare_streams()
    if any(option.startswith("error") for option in sys.warnoptions):
        # What libraries warn of is for those who write programs; it must not end one that somebody uses.
        warnings.simplefilter("default")
    # Python's own handler of Ctrl-C raises KeyboardInterrupt.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cli.main()


if __name__ == "__main__":  # for launchers that start a module: `torchrun ... -m hubspoke.cli spoke train`
    main()
