"""Pictures of lineages and maps of products, by hand."""

import itertools

import numpy as np
from hubspoke.console.layering import drawn
from hubspoke.console.maps import projected
from hubspoke.registry.lineage.graph import Lineage, LineageNode
from hubspoke.registry.records import EdgeRecord, NodeRecord
from hubspoke.workflows.workspace import Workspace


def node(ref: str) -> NodeRecord:
    return NodeRecord(ref, "spoke", None, ref, None)  # type: ignore[arg-type]


def lineage(direction: str, names: str, *edges: str) -> Lineage:
    reached = tuple(LineageNode(node(name), depth) for depth, name in enumerate(names))
    joined = tuple(EdgeRecord(one[0], one[1], "built_from", None, None) for one in edges)
    return Lineage(reached[0].node, direction, reached, joined)  # type: ignore[arg-type]


def test_every_node_stands_right_of_what_it_was_made_from() -> None:
    # a -> b -> d, a -> d, d -> e; c -> d stands beside b, not at the far left.
    found = drawn(
        lineage("upstream", "dbca", "ab", "bd", "ad", "cd"), lineage("downstream", "de", "de"), frozenset("e")
    )
    across = {own["id"]: own["x"] for own in found.nodes}
    assert across["a"] < across["b"] == across["c"] < across["d"] < across["e"]
    assert [own["id"] for own in found.nodes if own["changed"]] == ["e"]
    places = {(own["x"], own["y"]) for own in found.nodes}
    assert len(places) == 5 and len(found.edges) == 5 and found.left_out == 0


def test_a_picture_of_many_nodes_leaves_the_farthest_out() -> None:
    names = [chr(256 + n) for n in range(300)]
    reached = tuple(LineageNode(node(name), n) for n, name in enumerate(names))
    edges = tuple(EdgeRecord(a, b, "built_from", None, None) for a, b in itertools.pairwise(names))
    found = drawn(
        Lineage(reached[0].node, "upstream", reached[:1], ()), Lineage(reached[0].node, "downstream", reached, edges)
    )
    assert len(found.nodes) == 120 and found.left_out == 180


def test_the_first_two_axes_are_those_that_differ_most() -> None:
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(400, 5)) * [0.1, 9.0, 0.1, 3.0, 0.1]).astype(np.float32)
    places, share = projected(vectors)
    assert abs(np.corrcoef(places[:, 0], vectors[:, 1])[0, 1]) > 0.999
    assert abs(np.corrcoef(places[:, 1], vectors[:, 3])[0, 1]) > 0.99
    assert share > 0.99
    assert projected(vectors[:1])[0].shape == (1, 2) and projected(vectors[:, :1])[0].shape == (400, 2)


def test_a_map_is_made_once_per_index(looked_at: Workspace) -> None:
    from hubspoke.console.maps import places_of
    from hubspoke.workflows.recommendations import Recommender

    recommender = Recommender(looked_at, "lamps")
    first, share = places_of(looked_at, recommender)
    (file,) = [
        own
        for own in (looked_at.cache_dir / "console").iterdir()
        if recommender.loaded.record.artifact[:32] in own.name
    ]
    stamp = file.stat().st_mtime_ns
    again, same = places_of(looked_at, recommender)
    assert file.stat().st_mtime_ns == stamp and share == same and np.allclose(first, again, atol=1e-4)
    file.write_text("{")
    assert np.allclose(places_of(looked_at, recommender)[0], first, atol=1e-4)
