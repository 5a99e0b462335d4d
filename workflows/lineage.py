"""Questions about where things came from: the lineage tree, its two directions, and read-only SQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..registry.lineage import Direction, Lineage, LineageTree
    from ..registry.query import QueryResult
    from ..registry.records import EdgeRecord
    from .workspace import Workspace


class LineageQuestions:
    """`ws.lineage`: what made a thing, and what was made from it."""

    def __init__(self, workspace: Workspace) -> None:
        self._ws = workspace

    def show(self, ref: str, direction: Direction = "upstream", domains: bool = False) -> LineageTree:
        """The lineage of `ref` as a tree; `domains` shows the domain under every snapshot too.

        Raises:
            UsageError: the reference is malformed.
            NotFoundError: it points at nothing.
        """
        return self._ws.registry.tree(ref, direction, domains)

    def upstream(self, ref: str) -> Lineage:
        """Everything that `ref` was made from, nearest first.

        Raises:
            UsageError: the reference is malformed.
            NotFoundError: it points at nothing.
        """
        return self._ws.registry.upstream(ref)

    def downstream(self, ref: str) -> Lineage:
        """Everything that was made from `ref`, nearest first.

        Raises:
            UsageError: the reference is malformed.
            NotFoundError: it points at nothing.
        """
        return self._ws.registry.downstream(ref)


def sql(workspace: Workspace, text: str) -> QueryResult:
    """Answer one SQL statement that reads.

    Raises:
        UsageError: the statement writes, or the database does not understand it.
    """
    from ..registry.query import run_sql

    return run_sql(workspace.registry, text)


def tree_lines(tree: LineageTree) -> list[str]:
    """The tree as indented lines."""
    return [tree.node.ref, *_below(tree, "")]


def _below(tree: LineageTree, indent: str) -> Iterator[str]:
    for i, child in enumerate(tree.children):
        last = i == len(tree.children) - 1
        repeated = "  (shown above)" if child.repeated else ""
        yield f"{indent}{'└─ ' if last else '├─ '}{child.node.ref}  {_said(child.edges)}{repeated}"
        yield from _below(child, indent + ("   " if last else "│  "))


def _said(edges: tuple[EdgeRecord, ...]) -> str:
    return ", ".join(f"{e.relation.replace('_', ' ')}{f' ({e.part})' if e.part else ''}" for e in edges)
