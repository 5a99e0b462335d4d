"""`hubspoke rerank`: train what puts a spoke's candidates in order, list and show its versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from ..registry.records import ModelRecord
from .call import Call, Noun
from .models import MODEL_COLUMNS, dict_table, model_facts, trained
from .options import config_options, dry_run, events_ref, force, moment, read_config
from .output import Columns

if TYPE_CHECKING:
    from ..workflows.models import ModelResult

COLUMNS: Columns = {
    **{name: column for name, column in MODEL_COLUMNS.items() if name != "space"},
    "spoke": lambda model: model.summary.get("spoke"),
    "wins": lambda model: {True: "yes", False: "no"}.get(model.summary.get("wins")),
}


@click.group(cls=Noun)
def rerank() -> None:
    """A re-ranker: trees that put the candidates of one spoke in order, by more than the spoke looks at."""


@rerank.command(
    example=(
        "hubspoke rerank train garden",
        "hubspoke rerank train garden --spoke garden:7 --set origins=3 --promote",
    )
)
@click.argument("domain")
@click.option("--spoke", metavar="REF", help="Spoke version that it ranks for (default: the live one).")
@config_options
@events_ref
@click.option(
    "--test-from",
    type=moment,
    metavar="DATE",
    help="Where the time that judges begins (default: the last eighth of the events).",
)
@click.option("--promote", is_flag=True, help="Make it live with its spoke; ends with 3 where it is not better.")
@force
@dry_run
def train(call: Call, /, domain: str, config: str | None, settings: tuple[str, ...], **options: Any) -> None:
    """Train a re-ranker and judge it beside its spoke, on time that neither has seen.

    The spoke is trained again on earlier events, twice or more, which is most of what this takes. The version is stored
    either way, and served only where it wins: clearly better lists for the category's shoppers.
    """
    result = call.workspace().rerank.train(domain, read_config(config, settings), **options)
    call.show(result, _trained)


@rerank.command("list", example="hubspoke rerank list garden")
@click.argument("domain", required=False)
def list_(call: Call, domain: str | None) -> None:
    """Re-ranker versions, oldest first, of one category or of all."""
    empty = "No re-ranker yet; train one with `hubspoke rerank train DOMAIN`."
    call.show_list("rerankers", call.workspace().rerank.list(domain), COLUMNS, empty)


@rerank.command(example="hubspoke rerank show reranker:garden/1")
@click.argument("ref")
def show(call: Call, ref: str) -> None:
    """One re-ranker version: how it was judged, what its candidates can reach, its features by what they gain."""
    call.show(call.workspace().rerank.show(ref), _shown)


def _trained(result: ModelResult) -> str:
    return "\n\n".join(filter(None, (trained(result), _judged(result.ref, result.summary))))


def _shown(model: ModelRecord) -> str:
    return "\n\n".join(filter(None, (model_facts(model), _judged(model.ref, model.summary))))


def _judged(ref: str | None, summary: Mapping[str, Any]) -> str:
    """How a version stood beside its spoke alone, and what follows."""
    if "judged" not in summary:
        return ""
    rows = [{name: value for name, value in row.items() if name != "protocol"} for row in summary["judged"]]
    by_protocol: dict[str, list[Mapping[str, Any]]] = {}
    for row, shown in zip(summary["judged"], rows, strict=True):
        by_protocol.setdefault(row["protocol"], []).append(shown)
    tables = [f"{protocol}\n\n{dict_table(own)}" for protocol, own in by_protocol.items()]
    verdict = (
        f"It wins; serve it with `hubspoke promote {summary['spoke']} --reranker {ref}`."
        if summary["wins"]
        else "It does not win: the spoke alone stays in service."
    )
    return "\n\n".join([*tables, verdict])
