"""`hubspoke spoke`: train one category's recommender, list and show its versions."""

from __future__ import annotations

from typing import Any

import click

from .call import Call, Noun
from .differences import compared_spokes
from .models import MODEL_COLUMNS, model_facts, show_training
from .options import choice, config_options, dry_run, events_ref, force, items_ref, moment, read_config


@click.group(cls=Noun)
def spoke() -> None:
    """A spoke: one category's recommender, learned from its own sessions on top of the hub."""


@spoke.command(
    example=(
        "hubspoke spoke train garden --hub hub@live --set training.max_epochs=20 --refit",
        "hubspoke spoke train garden --from garden:3 --on new",
        "hubspoke spoke train garden --transfer auto",
        "torchrun --nproc-per-node 2 -m hubspoke.cli spoke train garden",
    )
)
@click.argument("domain")
@click.option("--hub", metavar="REF", help="Hub version (default: hub@live).")
@choice("--model", ("sasrec", "bert4rec"), "Sequence model; short for --set model=NAME.", optional=True)
@config_options
@items_ref
@events_ref
@click.option("--refit", is_flag=True, help="After choosing on validation, fit on everything but the test items.")
@choice("--split", ("leave-one-out", "temporal", "all"), "What is kept from training as validation and test.")
@click.option(
    "--test-from", type=moment, metavar="DATE", help="With --split temporal: events from here on are the test."
)
@click.option("--from", "parent", metavar="REF", help="Spoke version whose weights are trained on, of any category.")
@choice("--on", ("all", "new"), "With --from: train on all events, or on those that REF has not been trained on.")
@click.option(
    "--transfer",
    metavar="POLICY",
    help="What is inherited: auto (tried out), none, full, or some of text+image+fusion+scorer+attributes+behaviour.",
)
@click.option("--index/--no-index", default=True, show_default=True, help="Build the version's index too.")
@click.option("--promote", is_flag=True, help="Make a release of it and point DOMAIN@live at it.")
@force
@dry_run
def train(
    call: Call, /, domain: str, model: str | None, config: str | None, settings: tuple[str, ...], **options: Any
) -> None:
    """Train a spoke. The same inputs and settings give the same version again."""
    given = read_config(config, (*settings, f"model={model}") if model else settings)
    show_training(call, lambda: call.workspace().spoke.train(domain, given, **options))


@spoke.command("list", example="hubspoke spoke list garden")
@click.argument("domain", required=False)
def list_(call: Call, domain: str | None) -> None:
    """Spoke versions, oldest first, of one category or of all."""
    empty = "No spoke yet; train one with `hubspoke spoke train DOMAIN`."
    call.show_list("spokes", call.workspace().spoke.list(domain), MODEL_COLUMNS, empty)


@spoke.command(example="hubspoke spoke show garden:7")
@click.argument("ref")
def show(call: Call, ref: str) -> None:
    """One spoke version: its settings, what it says of itself, where it lies."""
    call.show(call.workspace().spoke.show(ref), model_facts)


@spoke.command(example="hubspoke spoke compare garden:6 garden:7 garden")
@click.argument("refs", nargs=-1, required=True, metavar="REF REF...")
def compare(call: Call, refs: tuple[str, ...]) -> None:
    """What differs between spoke versions: data, config, parents, parts, what each said of itself, metrics.

    Metrics are those of recorded evaluations under one protocol on the same events; `evaluate compare` measures anew,
    with intervals of the differences.
    """
    call.show(call.workspace().spoke.compare(*refs), compared_spokes)
