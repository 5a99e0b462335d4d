"""Questions about where things came from: the lineage tree, its two directions, impact, differences."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
        return self._context.registry.lineage.show(ref, direction, domains, depth)

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
        return self._context.registry.lineage.diff(a, b)
