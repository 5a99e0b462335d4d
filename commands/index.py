"""`hubspoke index`: build, extend, measure, list and check vector indexes."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ..errors import IncompatibleError
from .call import Call, Noun
from .models import dict_table, flat
from .options import choice, dry_run, force, items_ref, together
from .output import Columns, facts, table

if TYPE_CHECKING:
    from ..registry.records import IndexRecord
    from ..workflows.index_measurement import IndexBench

KINDS = ("auto", "flat", "sq8", "ivf", "hnsw", "ivf-pq", "ivf-rabitq")
_positive = click.FloatRange(min=0, min_open=True)
_targets = together(
    click.option(
        "--recall",
        type=click.FloatRange(min=0, max=1, min_open=True),
        default=0.99,
        show_default=True,
        help="Recall@10 that it must reach.",
    ),
    click.option(
        "--latency-ms",
        type=_positive,
        help="What 99 of 100 single questions may take (default: for auto 20, else any).",
    ),
    click.option("--memory-gb", type=_positive, help="Memory that its structure may take, in 10^9 bytes."),
)


def wanted(function: Callable[..., None]) -> Callable[..., None]:
    """What is wanted of an index, as one `request` that the command takes."""

    @functools.wraps(function)
    def run(*args: Any, recall: float, latency_ms: float | None, memory_gb: float | None, **options: Any) -> None:
        # pydantic is loaded only by commands that measure.
        from ..retrieval.measurement import IndexRequest

        fields = {"kind": options.pop("kind", None), "recall": recall}
        request = IndexRequest(**fields, latency_ms=latency_ms, memory_gb=memory_gb)
        function(*args, request=request, **options)

    add_options: Callable[[Any], Any] = _targets
    return add_options(run)  # type: ignore[no-any-return]


@click.group(cls=Noun)
def index() -> None:
    """Indexes: the vectors of one model version over one item snapshot, ready to be searched."""


@index.command(
    example=(
        "hubspoke index build garden:7",
        "hubspoke index build garden:7 --kind auto --latency-ms 20 --recall 0.99 --memory-gb 4",
        "hubspoke index build hub:4 --domain garden",
    )
)
@click.argument("ref")
@click.option("--domain", metavar="NAME", help="Category, where REF is a hub version.")
@items_ref
@choice("--kind", KINDS, "Kind (default: flat up to 100,000 items, then auto).", optional=True)
@wanted
@force
@dry_run
def build(call: Call, ref: str, **options: Any) -> None:
    """Build an index with a spoke or hub version, and measure it on sessions of the category.

    auto takes the cheapest kind that meets --recall, --latency-ms and --memory-gb. Where they are not met, nothing is
    stored and it ends with 3.
    """
    call.show(call.workspace().index.build(ref, **options))


@index.command(
    example=("hubspoke index add garden", "hubspoke index add index:garden/12 --items snapshot:garden/items/4")
)
@click.argument("ref")
@items_ref
@click.option("--model", metavar="REF", help="Version that embeds the items (default: the one that filled the index).")
@dry_run
def add(call: Call, ref: str, items: str | None, model: str | None, dry_run: bool) -> None:
    """Bring an index up to a newer catalog: only new and changed items are embedded.

    A model of another embedding space than the index holds is refused. Promote the new version to let it serve.
    """
    call.show(call.workspace().index.add(ref, items=items, model=model, dry_run=dry_run))


@index.command(example="hubspoke index remove garden --item hose-1 --item hose-2")
@click.argument("ref")
@click.option("--item", "items", metavar="ID", multiple=True, required=True, help="Item to take out; repeatable.")
@dry_run
def remove(call: Call, ref: str, items: tuple[str, ...], dry_run: bool) -> None:
    """Take items out of an index, until a newer catalog that holds them is added to it.

    Items that leave the catalog need not be removed: they are not recommended from the next ingest on. Promote the new
    version to let it serve.
    """
    call.show(call.workspace().index.remove(ref, items, dry_run=dry_run))


@index.command(example=("hubspoke index refresh garden", "hubspoke index refresh garden --promote"))
@click.argument("domain")
@click.option("--promote", is_flag=True, help="Let the new version serve, if the category's gate is met.")
@dry_run
def refresh(call: Call, domain: str, promote: bool, dry_run: bool) -> None:
    """Bring the index that serves a category up to its newest catalog, and train it anew where that is due."""
    call.show(call.workspace().index.refresh(domain, promote=promote, dry_run=dry_run), flat_facts)


@index.command("list", example="hubspoke index list garden")
@click.argument("domain", required=False)
def list_(call: Call, domain: str | None) -> None:
    """Index versions, oldest first, of one category or of all."""
    columns: Columns = {
        "index": "ref",
        "model": "model",
        "items": "items",
        "vectors": "n_items",
        "dimension": "dimension",
        "kind": "factory",
        "recall@10": _measured("recall"),
        "p50 ms": _measured("p50_ms"),
        "p99 ms": _measured("p99_ms"),
        "bytes/vector": _measured("bytes_per_vector"),
        "growth": lambda record: record.config.get("state", {}).get("growth"),
        "imbalance": lambda record: record.config.get("state", {}).get("imbalance"),
        "retrain": _due,
        "seconds": "seconds",
        "built": "created_at",
    }
    empty = "No index yet; build one with `hubspoke index build REF`."
    call.show_list("indexes", call.workspace().index.list(domain), columns, empty)


@index.command(example=("hubspoke index show garden", "hubspoke index show index:garden/12"))
@click.argument("ref")
def show(call: Call, ref: str) -> None:
    """The index that answers for REF: its kind and effort, what was measured, how far it has grown."""
    found = call.workspace().index.show(ref)
    call.show(found, lambda _: f"{flat_facts(found)}\n" + facts([("retrain due", _due(found))]))


@index.command(example=("hubspoke index bench garden", "hubspoke index bench garden --recall 0.95 --latency-ms 5"))
@click.argument("ref")
@wanted
def bench(call: Call, ref: str, **options: Any) -> None:
    """Build and measure every kind over the vectors of an index, and store none."""
    call.show(call.workspace().index.bench(ref, **options), _benched)


@index.command(example="hubspoke index check index:garden/12")
@click.argument("ref")
def check(call: Call, ref: str) -> None:
    """Check an index against its checksum, its model and its items. Ends with 6 where they do not fit."""
    result = call.workspace().index.check(ref)
    call.show(
        result, lambda _: f"{result.ref} is {'sound' if result.ok else 'not sound'}.\n{dict_table(result.checks)}"
    )
    if not result.ok:
        sys.exit(IncompatibleError.exit_code)


def flat_facts(result: Any) -> str:
    """Names and values, inner ones with dots."""
    return facts(flat(result.to_dict()))


def _measured(name: str) -> Callable[[IndexRecord], object]:
    return lambda record: record.config.get("measured", {}).get(name)


def _due(record: IndexRecord) -> str:
    if not record.config.get("state"):  # nothing in it is trained
        return "no"
    from ..workflows.index_growth import stored_due

    return stored_due(record) or "no"


def _benched(result: IndexBench) -> str:
    headers = ("kind", "effort", "recall@10", "p50 ms", "p99 ms", "per second", "bytes/vector", "build s", "misses")
    fields = ("kind", "effort", "recall", "p50_ms", "p99_ms", "per_second", "bytes_per_vector", "build_seconds")
    rows = [[*(row[name] for name in fields), "; ".join(row["missed"]) or "-"] for row in result.kinds]
    head = f"{result.n_items:,} vectors of {result.ref}, asked as {result.drawn_from} of its category ask."
    return f"{head}\n{table(headers, rows)}\nauto takes {result.chosen or 'none: no kind meets the targets'}."
