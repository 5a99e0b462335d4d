from dataclasses import replace

import numpy as np
import torch
from hubspoke.spokes.features.trend import Trend
from hubspoke.spokes.parts import FLOOR, FROZEN, spoke_parts


def test_a_spoke_tells_what_is_its_own_and_a_launch_floor_inherits_all_but_its_calibration(spoke, floor, hub):
    parts = {part.name: part for part in spoke_parts(spoke, hub)}
    own = ["calibration", "adapter", "content projection", "item ids", "transformer", "mixture"]
    assert list(parts) == ["text encoder", "image encoder", "fusion", *own]
    assert [part.inherited is None for part in parts.values()] == [False] * 3 + [True] * 6
    model = spoke.behaviour.model
    assert parts["item ids"].parameters == model.ids.weight.numel()
    assert parts["adapter"].bytes == 4 * parts["adapter"].parameters > 0
    weights = [p.numel() for name, p in model.named_parameters() if not name.startswith("content.fusion.")]
    assert sum(parts[name].parameters for name in ("content projection", "item ids", "transformer")) == sum(weights)
    inherited = {part.name: part.inherited for part in spoke_parts(floor, hub)}
    encoders = {"text encoder": FROZEN, "image encoder": FROZEN, "fusion": FLOOR}
    assert inherited == {**encoders, "calibration": None, "mixture": None}


def test_a_change_shows_in_the_part_that_it_was_made_to(spoke, hub):
    before = {part.name: part.fingerprint for part in spoke_parts(spoke, hub)}
    with torch.no_grad():
        spoke.behaviour.model.ids.weight[1, 0] += 1
    ranked = spoke.mixture.seen_ranked.model_copy(update={"content": 9.0})
    other = replace(spoke, mixture=spoke.mixture.model_copy(update={"seen_ranked": ranked}))
    after = {part.name: part.fingerprint for part in spoke_parts(other, hub)}
    assert {name for name in before if before[name] != after[name]} == {"item ids", "mixture"}


def test_what_was_counted_lately_is_a_part_where_a_session_asks_for_it(spoke, hub):
    trends = (Trend((0, 7), ("a", "b"), np.array([[3, last], [0, 2]], np.int64)) for last in (1, 2))
    (before,), (after,) = (
        [part for part in spoke_parts(replace(spoke, trend=own), hub) if part.name == "trend"] for own in trends
    )
    assert (before.bytes, before.parameters, before.inherited) == (32, 4, None)
    assert before.fingerprint != after.fingerprint
    assert "trend" not in [part.name for part in spoke_parts(spoke, hub)]
