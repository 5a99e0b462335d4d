"""A lineage as a picture: what came first stands left, every node right of all that it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..registry.lineage.graph import Lineage
from ..registry.records import EdgeRecord, NodeRecord

MOST = 120  # nodes of a picture; the tables list all
_SWEEPS = 6
_WIDTH, _HEIGHT = 260, 62  # between two nodes


@dataclass(frozen=True)
class Drawn:
    """Nodes with their places, and edges between them; `left_out` nodes did not fit."""

    nodes: Sequence[dict[str, Any]]
    edges: Sequence[dict[str, str]]
    left_out: int


def drawn(upstream: Lineage, downstream: Lineage, changed: frozenset[str] = frozenset()) -> Drawn:
    """Both sides of a node in one picture; what a change of it costs is marked."""
    nearest = sorted([*upstream.nodes, *downstream.nodes[1:]], key=lambda reached: reached.depth)
    nodes: dict[str, NodeRecord] = {own.ref: own.node for own in nearest[:MOST]}
    edges = [one for one in (*upstream.edges, *downstream.edges) if one.parent in nodes and one.child in nodes]
    places = _places(list(nodes), edges)
    side = {reached.ref: "up" for reached in upstream.nodes} | {reached.ref: "down" for reached in downstream.nodes}
    side[upstream.root.ref] = "root"
    made = [
        {
            "id": ref,
            "kind": node.kind,
            "side": side[ref],
            "changed": ref in changed,
            "x": places[ref][0] * _WIDTH,
            "y": places[ref][1] * _HEIGHT,
        }
        for ref, node in nodes.items()
    ]
    seen = {(one.parent, one.child): one.relation for one in edges}
    joined = [{"source": parent, "target": child, "says": says} for (parent, child), says in seen.items()]
    return Drawn(made, joined, len(nearest) - len(nodes))


def _places(refs: list[str], edges: Sequence[EdgeRecord]) -> dict[str, tuple[float, float]]:
    """Column and height of each node: as few crossings as ordering by neighbours gives."""
    parents: dict[str, set[str]] = {ref: set() for ref in refs}
    children: dict[str, set[str]] = {ref: set() for ref in refs}
    for edge in edges:
        parents[edge.child].add(edge.parent)
        children[edge.parent].add(edge.child)
    column: dict[str, int] = {}

    def depth(ref: str) -> int:
        if ref not in column:
            column[ref] = 1 + max((depth(parent) for parent in parents[ref]), default=-1)
        return column[ref]

    for ref in refs:
        depth(ref)
    # What hangs on nothing left of it stands beside what was made of it, not at the far left.
    for ref in sorted(refs, key=lambda own: -column[own]):
        if not parents[ref] and children[ref]:
            column[ref] = min(column[child] for child in children[ref]) - 1
    columns = [[ref for ref in refs if column[ref] == n] for n in range(max(column.values(), default=0) + 1)]
    height = {ref: float(n) - len(own) / 2 for own in columns for n, ref in enumerate(own)}
    for sweep in range(_SWEEPS):
        near = parents if sweep % 2 == 0 else children
        for own in columns if sweep % 2 == 0 else reversed(columns):
            own.sort(key=lambda ref: _mean([height[one] for one in near[ref]], height[ref]))
            height |= {ref: float(n) - len(own) / 2 for n, ref in enumerate(own)}
    return {ref: (column[ref], height[ref]) for ref in refs}


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
