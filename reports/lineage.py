"""Lineage as text: a tree of indented lines, and drawings in the languages of Graphviz (DOT) and Mermaid."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ..registry.kinds import NodeKind

if TYPE_CHECKING:
    from ..registry.lineage.graph import Lineage, LineageTree
    from ..registry.records import EdgeRecord

# Kind to the shape of its node in DOT, the brackets of its node in Mermaid, and its colour in both.
LOOKS: Mapping[str, tuple[str, tuple[str, str], str]] = {
    NodeKind.DOMAIN: ("folder", ("([", "])"), "#e8eaed"),
    NodeKind.ITEM_SNAPSHOT: ("cylinder", ("[(", ")]"), "#d2e3fc"),
    NodeKind.EVENT_SNAPSHOT: ("cylinder", ("[(", ")]"), "#cbf0f8"),
    NodeKind.HUB: ("hexagon", ("{{", "}}"), "#fdd663"),
    NodeKind.SPOKE: ("box", ("[", "]"), "#fde293"),
    NodeKind.RERANKER: ("box", ("[/", "/]"), "#fdcfe8"),
    NodeKind.RULES: ("note", ("[/", "\\]"), "#e9d2fd"),
    NodeKind.INDEX: ("component", ("[[", "]]"), "#ceead6"),
    NodeKind.EVALUATION: ("ellipse", ("(", ")"), "#f1f3f4"),
    NodeKind.RELEASE: ("doubleoctagon", ("((", "))"), "#fad2cf"),
}
# Mermaid writes characters that its grammar knows as `#code;`; a line ends a statement, whatever stands around it.
_MERMAID = re.compile(r"[^\w :/@.,()+-]")


def tree_lines(tree: LineageTree) -> list[str]:
    """The tree as indented lines: reference, how it hangs on the line above, day, headline metric."""
    printed: list[str] = []
    # Depths at which a line with the same parent follows: from the last line up, they are those met since.
    later: set[int] = set()
    for line in reversed(tree.lines):
        stem = "".join("│  " if depth in later else "   " for depth in range(1, line.depth))
        branch = "" if line.depth == 0 else "├─ " if line.depth in later else "└─ "
        metric = f"{line.metric.name} {line.metric.value:.3f}" if line.metric else ""
        state = "(shown above)" if line.repeated else "..." if line.cut else ""
        facts = (line.node.ref, relations(line.edges), f"{line.node.created_at:%Y-%m-%d}", metric, state)
        printed.append(f"{stem}{branch}{'  '.join(filter(None, facts))}")
        later = {depth for depth in later if depth < line.depth} | {line.depth}
    return printed[::-1]


def dot(lineage: Lineage) -> str:
    """The lineage as a DOT graph: a shape and colour per kind, edges labelled with their relations."""
    lines = ["digraph lineage {", "  rankdir=LR;", '  node [style=filled, fontname="sans-serif"];']
    for reached in lineage.nodes:
        shape, _, colour = LOOKS[reached.node.kind]
        label = f"{_dot(reached.ref)}\\n{reached.node.created_at:%Y-%m-%d}"
        bold = ", penwidth=3" if reached.depth == 0 else ""
        lines.append(f'  "{_dot(reached.ref)}" [label="{label}", shape={shape}, fillcolor="{colour}"{bold}];')
    for (parent, child), edges in _pairs(lineage).items():
        lines.append(f'  "{_dot(parent)}" -> "{_dot(child)}" [label="{_dot(relations(edges))}"];')
    return "\n".join([*lines, "}"])


def mermaid(lineage: Lineage) -> str:
    """The lineage as a Mermaid flowchart: a shape and colour per kind, edges labelled with their relations."""
    names = {reached.ref: f"n{i}" for i, reached in enumerate(lineage.nodes)}
    lines = ["flowchart LR"]
    for reached in lineage.nodes:
        _, (before, after), _ = LOOKS[reached.node.kind]
        label = f"{_mermaid(reached.ref)}<br/>{reached.node.created_at:%Y-%m-%d}"
        lines.append(f'  {names[reached.ref]}{before}"{label}"{after}:::{reached.node.kind}')
    for (parent, child), edges in _pairs(lineage).items():
        lines.append(f'  {names[parent]} -->|"{_mermaid(relations(edges))}"| {names[child]}')
    for kind in sorted({str(reached.node.kind) for reached in lineage.nodes}):
        lines.append(f"  classDef {kind} fill:{LOOKS[kind][2]},stroke:#5f6368,color:#202124")
    return "\n".join([*lines, f"  style {names[lineage.root.ref]} stroke-width:3px"])


def relations(edges: Iterable[EdgeRecord]) -> str:
    """The relations of edges in words: `adapted from (fusion), inherits (text)`."""
    return ", ".join(f"{e.relation.replace('_', ' ')}{f' ({e.part})' if e.part else ''}" for e in edges)


def _pairs(lineage: Lineage) -> dict[tuple[str, str], list[EdgeRecord]]:
    """The edges by what they join, since two nodes may be joined by several."""
    pairs: dict[tuple[str, str], list[EdgeRecord]] = {}
    for edge in lineage.edges:
        pairs.setdefault((edge.parent, edge.child), []).append(edge)
    return pairs


def _dot(text: str) -> str:
    escaped = " ".join(text.splitlines()).replace("\\", "\\\\")
    return escaped.replace('"', '\\"')


def _mermaid(text: str) -> str:
    return _MERMAID.sub(lambda match: f"#{ord(match[0])};", " ".join(text.splitlines()))
