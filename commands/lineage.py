"""`hubspoke lineage`: what a version was made from, what was made from it, what a change costs, what differs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import UsageError
from ..reports.lineage import dot as as_dot
from ..reports.lineage import mermaid as as_mermaid
from ..reports.lineage import tree_lines
from .call import Call, command_options
from .lineage_export import export
from .lineage_text import difference_text, impact_text, listing

if TYPE_CHECKING:
    from ..registry.lineage.graph import Lineage

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def lineage() -> None:
    """Lineage: how each version came from the others."""


lineage.add_command(export)


def drawing_options(function: F) -> F:
    """The two languages that a lineage can be drawn in."""
    for option in (
        click.option("--mermaid", is_flag=True, help="Draw it as a Mermaid flowchart."),
        click.option("--dot", is_flag=True, help="Draw it in the language of Graphviz."),
    ):
        function = option(function)
    return function


@lineage.command()
@click.argument("ref")
@click.option("--downstream", is_flag=True, help="What was made from REF instead of what it was made from.")
@click.option("--domains", is_flag=True, help="Show the category under every snapshot too.")
@click.option("--depth", type=click.IntRange(min=1), help="Levels to show under REF (default: all).")
@drawing_options
@command_options
def show(call: Call, ref: str, downstream: bool, domains: bool, depth: int | None, dot: bool, mermaid: bool) -> None:
    """The lineage of a release, version, index or snapshot as a tree, with days and each version's NDCG@10.

    \b
    Example:
      hubspoke lineage show garden
      hubspoke lineage show snapshot:garden/events/3 --downstream --depth 2
    """
    _one_form(call, dot, mermaid)
    asked = call.workspace().lineage
    if dot or mermaid:
        found = asked.downstream(ref) if downstream else asked.upstream(ref)
        _draw(call, found.within(depth, domains), dot)
        return
    tree = asked.show(ref, "downstream" if downstream else "upstream", domains, depth)
    call.show({"lineage": tree}, lambda: "\n".join(tree_lines(tree)))


@lineage.command()
@click.argument("ref")
@drawing_options
@command_options
def upstream(call: Call, ref: str, dot: bool, mermaid: bool) -> None:
    """Everything that REF was made from, nearest first.

    \b
    Example:
      hubspoke lineage upstream garden:7
      hubspoke lineage upstream garden --dot | dot -Tsvg > garden.svg
    """
    _one_form(call, dot, mermaid)
    _list(call, call.workspace().lineage.upstream(ref), dot, mermaid)


@lineage.command()
@click.argument("ref")
@drawing_options
@command_options
def downstream(call: Call, ref: str, dot: bool, mermaid: bool) -> None:
    """Everything that was made from REF, nearest first.

    \b
    Example:
      hubspoke lineage downstream snapshot:garden/events/3
      hubspoke lineage downstream hub:4 --mermaid
    """
    _one_form(call, dot, mermaid)
    _list(call, call.workspace().lineage.downstream(ref), dot, mermaid)


@lineage.command()
@click.argument("ref")
@click.option("--live", is_flag=True, help="Only what serves now.")
@command_options
def impact(call: Call, ref: str, live: bool) -> None:
    """What must be retrained, rebuilt or released again if REF changes, in an order in which it can be done.

    \b
    Example:
      hubspoke lineage impact hub:4
      hubspoke lineage impact snapshot:garden/events/3 --live
    """
    result = call.workspace().lineage.impact(ref, live)
    call.show(result.to_dict(), lambda: impact_text(result))


@lineage.command()
@click.argument("a")
@click.argument("b")
@command_options
def diff(call: Call, a: str, b: str) -> None:
    """What differs between two versions of one kind: data, config, code, parents, parts, outcome and metrics.

    \b
    Example:
      hubspoke lineage diff garden:6 garden:7
      hubspoke lineage diff release:garden/2 garden
    """
    result = call.workspace().lineage.diff(a, b)
    call.show(result.to_dict(), lambda: difference_text(result))


def _one_form(call: Call, dot: bool, mermaid: bool) -> None:
    asked = [name for name, given in (("--json", call.json), ("--dot", dot), ("--mermaid", mermaid)) if given]
    if len(asked) > 1:
        raise UsageError(f"{' and '.join(asked)} are forms of one answer; ask for one at a time.")


def _list(call: Call, found: Lineage, dot: bool, mermaid: bool) -> None:
    if dot or mermaid:
        _draw(call, found, dot)
    else:
        call.show({"lineage": found}, lambda: listing(found))


def _draw(call: Call, found: Lineage, dot: bool) -> None:
    call.show({}, lambda: as_dot(found) if dot else as_mermaid(found))
