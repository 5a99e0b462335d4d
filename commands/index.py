"""`hubspoke index`: build, extend, list and check vector indexes."""

from __future__ import annotations

import sys

import click

from ..errors import IncompatibleError
from .call import Call, Noun
from .models import dict_table
from .options import dry_run, force, items_ref


@click.group(cls=Noun)
def index() -> None:
    """Indexes: the vectors of one model version over one item snapshot, ready to be searched."""


@index.command(example=("hubspoke index build garden:7", "hubspoke index build hub:4 --domain garden"))
@click.argument("ref")
@click.option("--domain", metavar="NAME", help="Category, where REF is a hub version.")
@items_ref
@force
@dry_run
def build(call: Call, ref: str, domain: str | None, items: str | None, force: bool, dry_run: bool) -> None:
    """Build an index with a spoke or hub version."""
    call.show(call.workspace().index.build(ref, domain=domain, items=items, force=force, dry_run=dry_run))


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


@index.command("list", example="hubspoke index list garden")
@click.argument("domain", required=False)
def list_(call: Call, domain: str | None) -> None:
    """Index versions, oldest first, of one category or of all."""
    headers = ("index", "model", "items", "vectors", "dimension", "factory", "seconds", "built")
    fields = ("ref", "model", "items", "n_items", "dimension", "factory", "seconds", "created_at")
    empty = "No index yet; build one with `hubspoke index build REF`."
    call.show_list("indexes", call.workspace().index.list(domain), dict(zip(headers, fields, strict=True)), empty)


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
