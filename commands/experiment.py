"""`hubspoke experiment`: the live release and another one, each shown to a part of a category's shoppers."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..registry.records import ExperimentRecord
from ..workflows.experiment_metrics import PER_SHOPPER
from ..workflows.experiments import ExperimentResult
from .call import Call, Noun
from .options import choice, dry_run, duration, reason, span
from .output import Columns, facts, records_table
from .release import moved

if TYPE_CHECKING:
    from ..catalog.exposures import Arm
    from ..workflows.experiment_reports import ExperimentReport


@click.group(cls=Noun)
def experiment() -> None:
    """Experiments on shoppers: a release beside the live one, each for its part of them (docs/business.md)."""


@experiment.command(
    example=(
        "hubspoke experiment start garden --candidate garden@candidate --share 0.1",
        "hubspoke experiment start garden --candidate release:garden/7 --metric purchases --planned 50000 --window 3d",
    )
)
@click.argument("domain")
@click.option("--candidate", required=True, metavar="REF", help="Release to try: garden@candidate, release:garden/7.")
@click.option("--share", type=float, default=0.5, show_default=True, help="Share of the shoppers who see it.")
@choice("--metric", tuple(PER_SHOPPER), "What decides, of each shopper.")
@click.option(
    "--planned",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    help="Shoppers in all that it is planned for, where its intervals are tightest.",
)
@click.option(
    "--window",
    type=duration,
    metavar="SPAN",
    default="7d",
    show_default=True,
    help="What counts of a shopper, from the first list on: 7d, 12h, 90m, 30s.",
)
@reason
@dry_run
def start(call: Call, /, domain: str, candidate: str, window: timedelta, **options: Any) -> None:
    """Show a share of the known shoppers another release than the live one, until it is stopped.

    Who sees which follows from the shopper's id and the experiment, and stays so. Lists are split by the service while
    what is live is the experiment's control.
    """
    result = call.workspace().experiments.start(domain, candidate, window=window, **options)
    call.show(result, _changed)


@experiment.command(example="hubspoke experiment stop garden")
@click.argument("ref", metavar="DOMAIN|REF")
@reason
@dry_run
def stop(call: Call, ref: str, reason: str | None, dry_run: bool) -> None:
    """End the experiment of a category: every shopper is shown the live release again."""
    call.show(call.workspace().experiments.stop(ref, reason=reason, dry_run=dry_run), _changed)


@experiment.command(
    example=("hubspoke experiment report garden", "hubspoke experiment report garden --impressions impressions.parquet")
)
@click.argument("ref", metavar="DOMAIN|REF")
@click.option(
    "--impressions", metavar="FILE", help="Write its impressions as Parquet, for `evaluate business --log FILE`."
)
@choice("--target", ("candidate", "control"), "Arm that those speak for, as if everybody saw it.")
def report(call: Call, ref: str, impressions: str | None, target: Arm) -> None:
    """How far an experiment has come: whether its split is sound, and what each arm's shoppers did.

    Counted are shoppers whose window is over. `once` is an interval for a single look that was planned; `always` may be
    looked at every day, and what decides is judged by it.
    """
    file = None if impressions is None else Path(impressions)
    found = call.workspace().experiments.report(ref, impressions=file, target=target)
    if file is not None:
        call.note(f"Wrote {file}.")
    call.show(found, _reported)


@experiment.command(example='hubspoke experiment promote garden --reason "sells more"')
@click.argument("ref", metavar="DOMAIN|REF")
@reason
@click.option("--override", is_flag=True, help="Promote it although it is not clearly better; needs --reason.")
@dry_run
def promote(call: Call, ref: str, reason: str | None, override: bool, dry_run: bool) -> None:
    """Make the candidate live and end the experiment, if the split is sound and what decides is clearly better.

    Otherwise, and where the category's gate is not met, it is refused with exit code 3.
    """
    found = call.workspace().experiments.promote(ref, reason=reason, override=override, dry_run=dry_run)
    call.show(found, lambda made: f"{made.verdict}\n\n{moved(made.promotion)}")


@experiment.command("list", example="hubspoke experiment list garden")
@click.argument("domain", required=False)
def list_(call: Call, domain: str | None) -> None:
    """Every experiment, or those of a category, oldest first."""
    columns: Columns = {
        "experiment": "ref",
        "control": "control",
        "candidate": "candidate",
        "share": "share",
        "metric": "metric",
        "started": "started_at",
        "by": "actor",
        "why": "reason",
        "stopped": "stopped_at",
    }
    call.show_list("experiments", call.workspace().experiments.list(domain), columns, "No experiment has run yet.")


def _changed(result: ExperimentResult) -> str:
    own = result.experiment
    ended = own.stopped_at is not None
    if result.dry_run and not result.cached:
        state = "would be stopped" if own.salt else "would start"
    else:
        state = "had ended already" if result.cached else "has ended" if ended else "runs"
    return f"{own.ref} {state}.\n{facts([*about(own), ('gate', result.gate)])}"


def about(own: ExperimentRecord) -> list[tuple[str, object]]:
    """What was decided before an experiment started, and when it began and ended."""
    plan = f"{own.metric} of {own.planned:,} shoppers, each for {span(own.window_seconds)}"
    shown = [("control", own.control), ("candidate", f"{own.candidate} for {own.share:.4g} of the shoppers")]
    began = [("decides", plan), ("started", own.started_at), ("by", own.actor), ("why", own.reason)]
    return [*shown, *began, ("stopped", own.stopped_at), ("by whom", own.stopped_by), ("because", own.stop_reason)]


_EFFECTS: Columns = {
    "metric": lambda row: f"{row.metric} *" if row.decides else row.metric,
    "per": "per",
    "control": "control",
    "candidate": "candidate",
    "difference": "difference",
    "relative": lambda row: None if row.relative is None else f"{row.relative:+.1%}",
    "once": lambda row: _interval(row.once),
    "always": lambda row: _interval(row.always),
    "clear": lambda row: None if row.reason else row.clear,
}


def _interval(found: tuple[float, float] | None) -> str | None:
    return None if found is None else f"{found[0]:+.3g} to {found[1]:+.3g}"


def _reported(found: ExperimentReport) -> str:
    """The verdict, then what it rests on."""
    own = found.experiment
    split = (
        None if found.mismatch_p is None else f"{'sound' if found.sound else 'UNSOUND'} (p = {found.mismatch_p:.3g})"
    )
    moments = [("as of", found.at), ("events until", found.events_until), ("live", found.live)]
    counts = [("split", split), ("waiting", f"{found.waiting:,} shoppers, their window is not over")]
    names = ("arm", "release", "share", "shoppers", "counted", "lists", "impressions", "elsewhere")
    reasons = [f"{row.metric}: {row.reason}." for row in found.metrics if row.reason]
    parts = [
        found.verdict,
        facts([("experiment", own.ref), *about(own), *moments, *counts]),
        records_table(found.arms, {name: name for name in names}),
        records_table(found.metrics, _EFFECTS),
        "\n".join(reasons),
        "\n".join(found.notes),
    ]
    return "\n\n".join(filter(None, parts))
