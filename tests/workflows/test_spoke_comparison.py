"""Spoke versions side by side."""

from typing import Any

from hubspoke.commands.differences import compared_spokes
from hubspoke.errors import UsageError
from hubspoke.workflows.workspace import Workspace


def test_versions_stand_side_by_side(shop: Workspace, tiny_spoke: Any, refused: Any) -> None:
    # lamps:1, a child of it without a step, and one of another seed; the first and the last were measured.
    shop.spoke.train("lamps", config={"training": {"max_epochs": 0}}, parent="lamps:1", index=False)
    shop.spoke.train("lamps", config={**tiny_spoke, "seed": 5}, index=False)
    shop.evaluate.compare("lamps", ["lamps:1", "lamps:3"])
    found = shop.spoke.compare("lamps", "lamps:2", "lamps:3")
    assert found.versions == ("lamps:1", "lamps:2", "lamps:3")
    rows = {(row.section, row.name): row for row in found.rows}
    assert rows["config", "seed"].values == (0, 0, 5) and not rows["config", "seed"].same
    assert rows["config", "training.max_epochs"].values == (3, 0, 3)
    assert rows["config", "transformer.dimension"].same
    assert rows["parents", "warm_started_from"].values == ((), ("lamps:1",), ())
    assert rows["summary", "warm_start.parent"].values == (None, "lamps:1", None)
    assert rows["summary", "drift.overlap@10"].values == (None, 1.0, None)
    assert rows["data", "items"].same and rows["data", "items"].values[2].ref == "snapshot:lamps/items/1"
    transformer = rows["parts", "transformer"]
    assert transformer.values[0].fingerprint == transformer.values[1].fingerprint != transformer.values[2].fingerprint
    (ndcg,) = (one for one in found.metrics if (one.name, one.slice) == ("ndcg@10", "all"))
    assert ndcg.values[1] is None and None not in (ndcg.values[0], ndcg.values[2])
    assert ndcg.evaluations[1] is None and len({ndcg.evaluations[0], ndcg.evaluations[2]}) == 2
    # The text shows what differs.
    text = compared_spokes(found)
    lines = [line.split() for line in text.splitlines()]
    assert ["config", "lamps:1", "lamps:2", "lamps:3"] in lines and ["seed", "0", "0", "5"] in lines
    assert any(line[:1] == ["drift.overlap@10"] for line in lines)
    assert any(line[:2] == ["ndcg@10", "all"] for line in lines)
    assert "transformer.dimension" not in text and "windows_per_second" not in text
    for refs in (("lamps:1",), ("lamps:1", "lamps"), ("lamps:1", "lamps:1")):
        refused(UsageError, "not two versions", shop.spoke.compare, *refs)
    refused(UsageError, "not a spoke", shop.spoke.compare, "lamps:1", "hub:1")
