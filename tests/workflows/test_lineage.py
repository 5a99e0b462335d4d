"""Lineage through the workspace: trees, drawings that their languages' grammars accept."""

import itertools
import re
import sys
from dataclasses import replace
from typing import Any

import pytest
from hubspoke.errors import NotFoundError, UsageError
from hubspoke.registry.kinds import NodeKind
from hubspoke.registry.lineage.graph import Lineage, LineageNode
from hubspoke.registry.records import NodeRecord, Parent
from hubspoke.registry.rows import now
from hubspoke.registry.schema import Edge, Node
from hubspoke.reports.lineage import LOOKS, dot, mermaid, tree_lines
from hubspoke.workflows.workspace import Workspace


def test_a_tree_has_two_directions_and_names_relation_part_day_and_metric(garden: Workspace, models: Any) -> None:
    models.spoke(models.hub().ref)
    models.measure("garden:1", ("all", "ndcg@10", 0.0784))
    models.index("garden:1")
    tree = garden.lineage.show("index:garden/1")
    assert tree.node.ref == "index:garden/1"
    assert [line.node.ref for line in tree.lines if line.depth == 1] == ["snapshot:garden/items/1", "garden:1"]
    assert set(garden.lineage.upstream("garden:1").refs) >= {"hub:1", "snapshot:garden/events/1"}
    assert set(garden.lineage.downstream("hub:1").refs) == {"garden:1", "index:garden/1", "evaluation:garden/1"}
    assert garden.lineage.show("hub:1", "downstream").lines[1].node.ref == "garden:1"
    day = f"{now():%Y-%m-%d}"
    assert tree_lines(garden.lineage.show("index:garden/1")) == [
        f"index:garden/1  {day}",
        f"├─ snapshot:garden/items/1  embeds  {day}",
        f"└─ garden:1  built from  {day}  ndcg@10 0.078",
        f"   ├─ snapshot:garden/events/1  trained on  {day}",
        f"   └─ hub:1  adapted from, inherits (text)  {day}",
        f"      └─ snapshot:garden/items/1  trained on  {day}",
    ]
    assert tree_lines(garden.lineage.show("index:garden/1", depth=1))[2].endswith("ndcg@10 0.078  ...")
    with pytest.raises(NotFoundError):
        garden.lineage.show("garden:9")
    with pytest.raises(UsageError, match="not a reference"):
        garden.lineage.show("garden/9")


def test_a_chain_of_thousands_is_printed(ws: Workspace) -> None:
    n = 3 * sys.getrecursionlimit()
    with ws.registry.database.write() as session:
        nodes = [Node(kind="hub", ref=f"hub:{i + 1}", label="", created_at=now()) for i in range(n)]
        session.add_all(nodes)
        session.flush()
        shared = {"relation": "warm_started_from", "part": ""}
        session.add_all(Edge(parent_id=a.id, child_id=b.id, **shared) for a, b in itertools.pairwise(nodes))
    lines = tree_lines(ws.lineage.show(f"hub:{n}", depth=n))
    assert (len(lines), lines[-1].split()[1]) == (n, "hub:1")


QUOTED = r'"(?:[^"\\]|\\.)*"'
ATTRIBUTES = rf"\[(?:\w+=(?:{QUOTED}|\w+)(?:, )?)+\]"
DOT_LINES = re.compile(rf"  (?:rankdir=LR;|(?:node|{QUOTED}(?: -> {QUOTED})?) {ATTRIBUTES};)")
# What Mermaid takes inside quotes: letters, marks without a meaning of their own, and characters by number.
PLAIN = r"(?:[\w :/@.,()+-]|#\d+;|<br/>)*"
MERMAID_LINES = re.compile(
    rf'  (?:n\d+(?P<open>\W{{1,2}})"{PLAIN}"(?P<close>\W{{1,2}}):::\w+|n\d+ -->\|"{PLAIN}"\| n\d+'
    r"|classDef \w+ fill:#\w{6},stroke:#\w{6},color:#\w{6}|style n\d+ stroke-width:3px)"
)


@pytest.fixture
def awkward(garden: Workspace, models: Any) -> Lineage:
    """A lineage with everything in its labels that a language could stumble over."""
    part = 'text "a" \\ #1; <b>|x|</b>\n`end` [c] {d} é'
    hub = models.hub().ref
    models.model("spoke", [Parent(hub, "adapted_from"), Parent(hub, "inherits", part)])
    return garden.lineage.upstream("garden:1")


def test_dot_and_mermaid_are_accepted_by_their_grammars(awkward: Lineage) -> None:
    lines = dot(awkward).splitlines()
    assert (lines[0], lines[-1]) == ("digraph lineage {", "}")
    assert [line for line in lines[1:-1] if not DOT_LINES.fullmatch(line)] == []
    # The spoke's two edges to its hub are drawn as one.
    assert sum("->" in line for line in lines) == len({(e.parent, e.child) for e in awkward.edges})
    label = '"adapted from, inherits (text \\"a\\" \\\\ #1; <b>|x|</b> `end` [c] {d} é)"'
    assert f'  "hub:1" -> "garden:1" [label={label}];' in lines
    assert any(re.match(r'  "hub:1" \[label="hub:1\\n20\d\d-\d\d-\d\d", shape=hexagon, ', line) for line in lines)
    lines = mermaid(awkward).splitlines()
    assert lines[0] == "flowchart LR"
    assert [line for line in lines[1:] if not MERMAID_LINES.fullmatch(line)] == []
    assert any("inherits (text #34;a#34; #92; #35;1#59; #60;b#62;#124;x#124;" in line for line in lines)
    named = [match[1] for line in lines if (match := re.match(r"  (n\d+)[^\w ]", line))]
    used = {name for line in lines if "-->" in line for name in re.findall(r"\bn\d+\b", line.replace("|", " | "))}
    assert len(named) == len(set(named)) == len(awkward.nodes) and used <= set(named)
    used, defined = (set(re.findall(own, "\n".join(lines))) for own in (r":::(\w+)", r"classDef (\w+)"))
    assert used == defined


def test_every_kind_of_node_has_a_look_of_its_own() -> None:
    assert set(LOOKS) == set(NodeKind)
    root = NodeRecord("hub:1", "hub", None, "", now())
    nodes = tuple(LineageNode(replace(root, ref=f"x:{i}", kind=kind), i) for i, kind in enumerate(NodeKind))
    everything = Lineage(nodes[0].node, "downstream", nodes, ())
    assert all(DOT_LINES.fullmatch(line) for line in dot(everything).splitlines()[1:-1])
    shown = [match for line in mermaid(everything).splitlines() if (match := MERMAID_LINES.fullmatch(line))]
    assert len(shown) == len(mermaid(everything).splitlines()) - 1
    closed = str.maketrans("([{/\\", ")]}/\\")
    for brackets in ((m["open"], m["close"]) for m in shown if m["open"]):
        assert brackets[1] == brackets[0].translate(closed)[::-1] or brackets == ("[/", "\\]")
