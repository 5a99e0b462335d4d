"""`hubspoke hub`: train the shared content space, embed a catalog in it, list and show its versions."""

from __future__ import annotations

from typing import Any

import click

from ..workflows.typed_lists import names
from .call import Call, Noun
from .models import MODEL_COLUMNS, model_facts, show_training
from .options import choice, config_options, dry_run, force, items_ref, read_config


@click.group(cls=Noun)
def hub() -> None:
    """The hub: text and image encoders and their fusion, shared by every category."""


@hub.command(
    example=(
        "hubspoke hub train --domains garden,pets --held-out toys",
        "hubspoke hub train --from hub:3 --promote",
        "torchrun --nproc-per-node 2 -m hubspoke.cli hub train --set encoders.steps=500",
    )
)
@click.option("--domains", metavar="A,B,C", help="Categories to train on (default: all that have items).")
@click.option("--held-out", metavar="NAME", help="Category that what was learned must not hurt.")
@choice("--preset", ("balanced", "fast", "best"), "How much is spent on a product.")
@config_options
@click.option("--steps", type=click.IntRange(min=0), help="Training steps; 0 trains nothing.")
@click.option("--from-scratch", is_flag=True, help="Train encoders of its own, on millions of sessions.")
@click.option("--from", "parent", metavar="REF", help="Hub version whose weights are trained on.")
@click.option("--promote", is_flag=True, help="Point hub@live at the new version even where it points at one.")
@force
@dry_run
def train(call: Call, /, domains: str | None, config: str | None, settings: tuple[str, ...], **options: Any) -> None:
    """Train a hub on the union of the catalogs. The first one becomes hub@live by itself."""
    given = {"domains": names(domains) or None, "config": read_config(config, settings), **options}
    show_training(call, lambda: call.workspace().hub.train(**given))


@hub.command(example="hubspoke hub embed garden --hub hub:4")
@click.argument("domain")
@click.option("--hub", "ref", metavar="REF", default="hub@live", show_default=True, help="Hub version.")
@items_ref
def embed(call: Call, domain: str, ref: str, items: str | None) -> None:
    """Embed a category's catalog with the hub, so that later commands find the vectors in the cache."""
    call.show(call.workspace().hub.embed(domain, hub=ref, items=items))


@hub.command("list", example="hubspoke hub list")
def list_(call: Call) -> None:
    """Hub versions, oldest first."""
    empty = "No hub yet; train one with `hubspoke hub train`."
    call.show_list("hubs", call.workspace().hub.list(), MODEL_COLUMNS, empty)


@hub.command(example="hubspoke hub show hub:4")
@click.argument("ref", default="hub@live")
def show(call: Call, ref: str) -> None:
    """One hub version: its settings, what it says of itself, where it lies."""
    call.show(call.workspace().hub.show(ref), model_facts)
