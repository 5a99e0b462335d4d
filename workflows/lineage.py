"""Questions about where things came from: the lineage tree, its two directions, impact, differences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..reports.drawings import said

if TYPE_CHECKING:
    from ..registry.lineage.differences import Difference
    from ..registry.lineage.graph import Direction, Lineage, LineageTree
    from ..registry.lineage.impact import Impact
    from .context import Context


class LineageQuestions:
    """`context.lineage`: what made a thing, what was made from it, and what follows from that."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def show(
        self, ref: str, direction: Direction = "upstream", domains: bool = False, depth: int | None = None
    ) -> LineageTree:
        """The lineage of `ref` as a tree, with the headline metric of each version.

        Args:
            ref: the root.
            direction: which way to walk.
            domains: show the domain under every snapshot too.
            depth: levels to show under the root; by default all.

        Raises:
            UsageError: the reference is malformed.
            NotFoundError: it points at nothing.
        """
        return self._context.registry.lineage.tree(ref, direction, domains, depth)

    def upstream(self, ref: str) -> Lineage:
        """Everything that `ref` was made from, nearest first.

        Raises:
            UsageError: the reference is malformed.
            NotFoundError: it points at nothing.
        """
        return self._context.registry.lineage.upstream(ref)

    def downstream(self, ref: str) -> Lineage:
        """Everything that was made from `ref`, nearest first.

        Raises:
            UsageError: the reference is malformed.
            NotFoundError: it points at nothing.
        """
        return self._context.registry.lineage.downstream(ref)

    def impact(self, ref: str, live: bool = False) -> Impact:
        """What must be retrained, rebuilt or released again if `ref` changes, in an order in which it can be done.

        Args:
            ref: anything; a domain stands for all that was made of its data.
            live: leave out what does not serve now.

        Raises:
            UsageError: the reference is malformed.
            NotFoundError: it points at nothing.
        """
        return self._context.registry.lineage.impact(ref, live)

    def diff(self, a: str, b: str) -> Difference:
        """What differs between two versions of one kind.

        Raises:
            UsageError: a reference is malformed, or the two cannot be compared.
            NotFoundError: one points at nothing.
        """
        return self._context.registry.lineage.differences(a, b)


def tree_lines(tree: LineageTree) -> list[str]:
    """The tree as indented lines: reference, how it hangs on the line above, day, headline metric."""
    lines = [_line(tree)]
    stack = _hung(tree.children, "")
    while stack:
        line, indent, last = stack.pop()
        lines.append(f"{indent}{'└─ ' if last else '├─ '}{_line(line)}")
        stack += _hung(line.children, indent + ("   " if last else "│  "))
    return lines


def _hung(children: Iterable[LineageTree], indent: str) -> list[tuple[LineageTree, str, bool]]:
    """Lines to be printed, the last one first."""
    return [(child, indent, i == 0) for i, child in enumerate(reversed(tuple(children)))]


def _line(line: LineageTree) -> str:
    metric = f"{line.metric.name} {line.metric.value:.3f}" if line.metric else ""
    state = "(shown above)" if line.repeated else "..." if line.cut else ""
    facts = (line.node.ref, said(line.edges), f"{line.node.created_at:%Y-%m-%d}", metric, state)
    return "  ".join(filter(None, facts))
