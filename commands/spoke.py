"""`hubspoke spoke`: train one category's recommender, list and show its versions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Unpack

import click

from ..errors import ProcessLostError
from .call import Call, command_options, rank
from .models import model_facts, model_table, trained
from .options import config_options, dry_run, force, moment, read_config
from .spoke_text import compared_spokes

if TYPE_CHECKING:
    from ..workflows.spokes import TrainingOptions


@click.group()
def spoke() -> None:
    """A spoke: one category's recommender, learned from its own sessions on top of the hub."""


@spoke.command()
@click.argument("domain")
@click.option("--hub", metavar="REF", help="Hub version (default: hub@live).")
@click.option("--model", type=click.Choice(["sasrec", "bert4rec"]), help="Sequence model; short for --set model=NAME.")
@config_options
@click.option("--items", metavar="REF", help="Item snapshot (default: the newest).")
@click.option("--events", metavar="REF", help="Event snapshot (default: the newest).")
@click.option("--refit", is_flag=True, help="After choosing on validation, fit on everything but the test items.")
@click.option(
    "--split",
    type=click.Choice(["leave-one-out", "temporal", "all"]),
    default="leave-one-out",
    show_default=True,
    help="What is kept from training as validation and test.",
)
@click.option(
    "--test-from", type=moment, metavar="DATE", help="With --split temporal: events from here on are the test."
)
@click.option("--from", "parent", metavar="REF", help="Spoke version whose weights are trained on, of any category.")
@click.option(
    "--on",
    type=click.Choice(["all", "new"]),
    default="all",
    show_default=True,
    help="With --from: train on all events, or on those that REF has not been trained on.",
)
@click.option("--index/--no-index", default=True, show_default=True, help="Build the version's index too.")
@click.option("--promote", is_flag=True, help="Make a release of it and point DOMAIN@live at it.")
@force
@dry_run
@command_options
def train(
    call: Call,
    /,
    domain: str,
    model: str | None,
    config: str | None,
    settings: tuple[str, ...],
    index: bool,
    promote: bool,
    force: bool,
    dry_run: bool,
    **options: Unpack[TrainingOptions],
) -> None:
    """Train a spoke. The same inputs and settings give the same version again.

    \b
    Example:
      hubspoke spoke train garden --hub hub@live --set training.max_epochs=20 --refit
      hubspoke spoke train garden --from garden:3 --on new
      torchrun --nproc-per-node 2 -m hubspoke.cli spoke train garden
    """
    given = read_config(config, (*settings, f"model={model}") if model else settings)
    with _one_voice():
        result = call.workspace().spoke.train(
            domain, given, force=force, dry_run=dry_run, index=index, promote=promote, **options
        )
    if rank() == 0:
        call.show(result, lambda: trained(result))


@contextmanager
def _one_voice() -> Iterator[None]:
    """What stops a training by several processes is reported once; all but the first end without a word."""
    try:
        yield
    except (KeyboardInterrupt, ProcessLostError):
        if rank() > 0:
            raise SystemExit(1) from None
        raise


@spoke.command("list")
@click.argument("domain", required=False)
@command_options
def list_(call: Call, domain: str | None) -> None:
    """Spoke versions, oldest first, of one category or of all.

    \b
    Example:
      hubspoke spoke list garden
    """
    models = call.workspace().spoke.list(domain)
    empty = "No spoke yet; train one with `hubspoke spoke train DOMAIN`."
    call.show_list("spokes", models, lambda: model_table(models, empty))


@spoke.command()
@click.argument("ref")
@command_options
def show(call: Call, ref: str) -> None:
    """One spoke version: its settings, what it says of itself, where it lies.

    \b
    Example:
      hubspoke spoke show garden:7
    """
    model = call.workspace().spoke.show(ref)
    call.show(model.to_dict(), lambda: model_facts(model))


@spoke.command()
@click.argument("refs", nargs=-1, required=True, metavar="REF REF...")
@command_options
def compare(call: Call, refs: tuple[str, ...]) -> None:
    """What differs between spoke versions: data, config, parents, parts, what each said of itself, metrics.

    Metrics are those of recorded evaluations under one protocol on the same events; `evaluate compare` measures anew,
    with intervals of the differences.

    \b
    Example:
      hubspoke spoke compare garden:6 garden:7 garden
    """
    found = call.workspace().spoke.compare(*refs)
    call.show(found, lambda: compared_spokes(found))
