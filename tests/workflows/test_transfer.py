"""Transfer: each policy takes what it names and nothing else, and what `auto` chose can be read with its evidence."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hubspoke.errors import IncompatibleError, UsageError
from hubspoke.evaluation.protocols import Protocol
from hubspoke.workflows import transfer, transfer_trials
from hubspoke.workflows.datasets import load_dataset
from hubspoke.workflows.loading import load_spoke, over_catalog
from hubspoke.workflows.workspace import Workspace

Train = Callable[..., Any]


@pytest.fixture
def train(shop: Workspace, tiny_spoke: Any) -> Train:
    """Trains lamps, or another category, under a policy and returns the version's record."""

    def run(policy: str | None, domain: str = "lamps", config: Any = (), **options: Any) -> Any:
        given = {**tiny_spoke, **dict(config)}
        return shop.spoke.show(str(shop.spoke.train(domain, given, index=False, transfer=policy, **options).ref))

    return run


@pytest.fixture
def sibling(shop: Workspace, market: Any, train: Train) -> Any:
    """A spoke of mugs that reads attributes."""
    shop.domain.add("mugs", market["mugs"].items, market["mugs"].events)
    return train(None, "mugs", {"attributes": {}})


def inherited(shop: Workspace, ref: str) -> dict[tuple[str, str], str]:
    """Parent and part of every edge that says that something was inherited, with its reason."""
    edges = shop.registry.lineage.upstream(ref).edges
    return {(e.parent, e.part): e.reason for e in edges if (e.child, e.relation) == (ref, "inherits")}


def test_without_a_policy_nothing_is_new(shop: Workspace, train: Train) -> None:
    known = train(None)
    assert (known.ref, "transfer" in known.summary) == ("lamps:1", False)
    assert (known.config["hub_fusion"], known.config["hub_scorer"]) == (True, True)


def test_what_a_policy_leaves_out_is_not_read(shop: Workspace, train: Train) -> None:
    none = train("none")
    assert (none.config["content"], none.config["attributes"] is not None) == ([], True)
    assert inherited(shop, none.ref) == {}
    assert none.summary["transfer"] == {"policy": "none", "chosen": "asked for", "sibling": None}
    spoke, _ = load_spoke(shop, none)
    assert spoke.space.dimension == 0
    text = train("text")
    assert text.config["content"] == ["text"]
    assert list(inherited(shop, text.ref)) == [("hub:1", "text encoder")]
    # It is measured and served like any other, beside the hub that it stands on.
    compared = shop.evaluate.compare("lamps", [text.ref, none.ref, "hub:1"], record=False)
    assert {row.model for row in compared.rows} == {text.ref, none.ref, "hub:1"}
    assert shop.index.build(none.ref).n_items == 40
    # The same again is the same version; no policy at all is another one.
    assert (train("text").ref, train(None).ref) == (text.ref, "lamps:1")


def test_a_learned_fusion_is_left_out_by_name(shop: Workspace, train: Train, tiny_hub: Any) -> None:
    taught = {**tiny_hub, "contrastive": {"steps": 0}, "seed": 5}
    hub = shop.hub.train(domains=[], config=taught)
    # As if training had been kept: the fusion of a stored hub says something else than its encoders.
    loaded, record = transfer.load_hub(shop, str(hub.ref))
    loaded.fusion.up.weight.data.normal_(std=0.5, generator=None)
    with_fusion, without = (train(policy, hub=record.ref) for policy in ("text+fusion", "text"))
    assert ("hub:2", "fusion") in inherited(shop, with_fusion.ref)
    assert ("hub:2", "fusion") not in inherited(shop, without.ref)
    dataset = load_dataset(shop, "lamps")
    spoke, encoded = over_catalog(shop, without, dataset)
    fused = spoke.fusion.fuse(encoded)
    np.testing.assert_array_equal(fused.text, encoded.text)  # the identity, to the bit


def test_behaviour_and_attributes_come_from_a_sibling_each_by_itself(
    shop: Workspace, train: Train, sibling: Any
) -> None:
    both = train("text+attributes+behaviour")
    (start,) = (edge for edge in shop.registry.lineage.upstream(both.ref).edges if edge.relation == "warm_started_from")
    assert (start.parent, both.summary["transfer"]["sibling"]) == ("mugs:1", "mugs:1")
    found = inherited(shop, both.ref)
    assert {key for key in found if key[0] == "mugs:1"} == {("mugs:1", "transformer"), ("mugs:1", "attribute encoder")}
    ours, theirs = (load_spoke(shop, record)[0].behaviour for record in (both, sibling))
    assert ours.features.vocabulary == theirs.features.vocabulary
    # Nothing of the transformer: the weights begin where they begin from scratch.
    stopped = {"training": {"max_epochs": 0}}
    alone = train("text+attributes", config=stopped)
    assert ("mugs:1", "transformer") not in inherited(shop, alone.ref)
    ours = load_spoke(shop, alone)[0].behaviour.model.state_dict()
    theirs = load_spoke(shop, sibling)[0].behaviour.model.state_dict()
    same = {name for name in ours if name in theirs and ours[name].equal(theirs[name])}
    assert any(name.startswith("features.attributes.") for name in same)
    assert not any(name.startswith("transformer.") and "weight" in name and ours[name].dim() > 1 for name in same)


def test_what_contradicts_a_policy_is_refused(shop: Workspace, train: Train, sibling: Any, refused: Any) -> None:
    refused(UsageError, "content is decided by --transfer", train, "text", config={"content": []})
    refused(UsageError, "Nothing of mugs:1 is inherited", train, "text", parent="mugs:1")
    refused(UsageError, "is of lamps itself", train, "text+behaviour", parent="lamps:1")
    refused(IncompatibleError, "dimension", train, "behaviour", config={"transformer": {"dimension": 8}})
    shop.domain.archive("mugs")
    refused(UsageError, "No other category", train, "text+behaviour")


def test_auto_tries_part_by_part_and_keeps_the_audit(shop: Workspace, train: Train, sibling: Any) -> None:
    before = len(shop.spoke.list())
    planned = shop.spoke.train("lamps", {}, transfer="auto", dry_run=True)
    about = planned.summary["transfer"]
    assert (about["policy"], about["available"], about["sibling"]) == ("text", "text+behaviour", "mugs:1")
    assert (about["planned_trials"], about["epochs_each"], len(shop.spoke.list())) == (3, 12, before)
    record = train("auto")
    assert len(shop.spoke.list()) == before + 1  # trials leave no version
    audit = record.summary["transfer"]
    judged = shop.evaluate.run("lamps", record.ref, Protocol(part="validation", exclude_seen=True), record=False)
    assert (audit["chosen"], audit["by"], audit["users"]) == ("auto", "validation", judged.n_users)
    tried = [row["policy"] for row in audit["trials"]]
    assert tried[:2] == ["none", "text"] and len(tried) >= 3
    assert [row["part"] for row in audit["parts"]] == ["text", "behaviour"]
    rates = {row["policy"]: row["all"] for row in audit["trials"]}
    first = audit["parts"][0]
    assert first["all"]["difference"] == pytest.approx(rates["text"] - rates["none"], abs=2e-5)
    assert first["verdict"].startswith(f"text, {'inherited' if first['inherited'] else 'left out'}: ")
    taken = [row["part"] for row in audit["parts"] if row["inherited"]]
    assert audit["policy"] == ("+".join(taken) or "none")
    none = audit["against"][0]
    assert none["policy"] == "none"
    assert none["all"]["difference"] == pytest.approx(rates[audit["policy"]] - rates["none"], abs=2e-5)
    # What was inherited says what it was worth.
    told = inherited(shop, record.ref)
    assert all(row["verdict"] in " ".join(told.values()) for row in audit["parts"] if row["inherited"])
    # The same again is the same version, and no trial runs twice.
    assert train("auto").ref == record.ref


def test_what_was_tried_is_not_tried_again(shop: Workspace, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    record = train("auto")
    monkeypatch.setattr(transfer_trials.SpokeTraining, "fit", lambda _: pytest.fail("trained once more"))
    assert train("auto").ref == record.ref
    (file,) = list((shop.cache_dir / "transfer").glob("*/trial.json"))[:1]
    file.write_text("{")
    with pytest.raises(pytest.fail.Exception):
        train("auto")


def test_a_category_without_events_inherits_what_is_expected_to_help(shop: Workspace, market: Any) -> None:
    shop.domain.add("mugs", market["mugs"].items)
    planned = shop.spoke.train("mugs", transfer="auto", dry_run=True)
    assert (planned.status, planned.summary["transfer"]["policy"], shop.spoke.list("mugs")) == ("planned", "text", [])
    made = shop.spoke.train("mugs", transfer="auto")
    record = shop.spoke.show(str(made.ref))
    assert (made.index, made.release) == ("index:mugs/1", "release:mugs/1")
    assert record.summary["transfer"]["by"] == transfer.PRIOR
    assert set(inherited(shop, "mugs:1")) == {("hub:1", "text encoder"), ("hub:1", "fusion")}
    # It serves as the hub alone would.
    item = str(load_dataset(shop, "mugs").items["item_id"][0])
    answers = [shop.recommend("mugs", [item], k=5).items for _ in range(2)]
    assert answers[0] == answers[1] and len(answers[0]) == 5
    assert shop.spoke.train("mugs", transfer="auto").cached


def test_pictures_are_expected_to_help_by_the_audits_of_lookalikes(
    shop: Workspace, market: Any, tiny_hub: Any, tiny_spoke: Any
) -> None:
    shop.hub.train(domains=[], config={**tiny_hub, "image": {"name": "tiny"}}, promote=True)
    shop.domain.add("mugs", market["mugs"].items, market["mugs"].events)
    job = transfer.SpokeJob("lamps", config=tiny_spoke, transfer="auto")
    known = transfer.inheritance(shop, job)
    assert ("image" in known.available, "image" in known.expected) == (True, False)
    assert known.because == "no audit of a category that looks alike"
    audited = shop.spoke.train("mugs", tiny_spoke, index=False, transfer="auto")
    image = next(row for row in audited.summary["transfer"]["parts"] if row["part"] == "image")
    known = transfer.inheritance(shop, job)
    assert ("image" in known.expected) == (image["all"]["difference"] > 0)
    assert known.because.endswith("in mugs")
