"""`hubspoke explain` in plain words, as JSON and as a picture."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hubspoke.commands.explain import explained
from hubspoke.reports.explanation import explanation_figure
from hubspoke.workflows.barred import BarredItem
from hubspoke.workflows.explain import (
    Counterfactual,
    EventContribution,
    ExplainedItem,
    Explanation,
    PartScore,
    SessionAttention,
)
from hubspoke.workflows.workspace import Workspace

SVG = "{http://www.w3.org/2000/svg}text"


def event(position: int, item_id: str, title: str, share: float) -> EventContribution:
    return EventContribution(position, item_id, title, share, share, share, share, {"text": share}, {"text": share})


def item(**changes: Any) -> ExplainedItem:
    """The clay pot, third of three events and of two parts."""
    none = dict.fromkeys(("not_shown", "held_back", "category", "price", "without_image"))
    plain = {"rank": 1, "score_rank": 1, "item_id": "pot", "title": "Clay pot", "brand": "Tindra", "score": 2.0}
    made = ExplainedItem(
        **none,
        **plain,
        places={"retrieve": 1, "rules": 1, "diversity": 1, "list": 1},
        boost=0.0,
        cold=False,
        pinned=False,
        parts=[PartScore("behaviour", 2.5, 5 / 6, 0.75, 0.75), PartScore("text", -0.5, -1 / 6, -0.25, -0.25)],
        behaviour_parts={"bias": 0.125, "text": 2.5, "item id": -0.125},
        events=[event(1, "rose", "Red rose", 0.6), event(2, "fern", "Fern", -0.1), event(3, "rose", "Red rose", 0.3)],
        without_text=Counterfactual(1.5, 4),
    )
    return replace(made, **changes)


def explanation(*items: ExplainedItem, **changes: Any) -> Explanation:
    rose, fern = ({"item_id": own, "title": title} for own, title in (("rose", "Red rose"), ("fern", "Fern")))
    attention = SessionAttention([0.25, 0.5, 0.25], [[[0.25, 0.5, 0.25]]])
    about = ("garden", "release:garden/1", "index:garden/1", "garden:1", [rose, fern, rose], [], "ranked", None)
    return replace(Explanation(*about, None, {}, attention, items, [], []), **changes)


def test_an_item_is_explained_in_plain_words() -> None:
    assert explained(explanation(item())).splitlines() == [
        "Served by garden:1, items of the session are ranked.",
        "  after rose  Red rose",
        "  after fern  Fern",
        "  after rose  Red rose",
        "Attention of the model: Fern (50 %), Red rose [1] (25 %), Red rose [3] (25 %).",
        "",
        "1. Clay pot (pot, Tindra)",
        "   because of   Red rose [1] (60 %), Red rose [3] (30 %)",
        "   in spite of  Fern (-10 %)",
        "   score        2.000: behaviour 2.500 (83 %), text -0.500 (-17 %)",
        "   behaviour    text 2.500, same for all 0.125, the item itself -0.125",
        "   compared     0.500 above the average item: behaviour 0.750 (75 %), text -0.250 (-25 %)",
        "   without      its text it would stand at 4 instead of 1 (score 1.500)",
    ]


def test_every_part_of_a_score_has_a_name_for_people() -> None:
    names = ("behaviour", "cold", "trend", "text", "crowding", "image", "repeat")
    said = explained(explanation(item(parts=[PartScore(name, 1.0, 0.1, 0.1, 0.1) for name in names])))
    assert "picture 1.000 (10 %), taken before 1.000 (10 %)" in said


def test_what_is_odd_about_a_place_is_said() -> None:
    hidden = item(rank=None, score_rank=3, not_shown="not available", brand=None, title="")
    items = (item(pinned=True, score_rank=7, cold=True), item(rank=None, score_rank=9), hidden)
    odd = {"unknown": ["oak"], "rules": "rules:garden/2", "attention": None, "notes": ["Nothing attends."]}
    said = explained(explanation(*items, **odd))
    assert "Attention" not in said
    for line in (
        "Unknown items left out: oak.",
        "Rules: rules:garden/2.",
        "Note: Nothing attends.",
        "   pinned       by a rule; its score alone would put it at 7",
        "   new          too few events for behaviour of its own, so content speaks for it",
        "   not in the list  its score puts it at 9",
        "- pot (pot)",
        "   never shown  not available; its score would put it at 3",
    ):
        assert line in said.splitlines()
    staged = {"retrieve": 9, "rank": 4, "rules": 2, "diversity": 2, "list": 1}
    lifted = item(places=staged, boost=1.5)
    out = item(
        rank=None, places={"retrieve": 2, "list": None}, boost=-1.0, held_back="its brand has reached the limit of 2"
    )
    barred = [BarredItem("rake", "Rake", 2.5, 1, "rules", "hidden by rules:garden/1 (brand Acme)")]
    said = explained(explanation(lifted, out, barred=barred))
    for line in (
        "   lifted       by a boost of 1.5",
        "   place        by score 9, re-ranked 4, after boosts 2, spread out 2, in the list 1",
        "   not in the list  its brand has reached the limit of 2; its score puts it at 1",
        "   held back        by a boost of -1",
        "Not in the list, although they score as well:",
        "   1. Rake (rake)  rules: hidden by rules:garden/1 (brand Acme)",
    ):
        assert line in said.splitlines()
    small_print = explanation_figure(explanation(replace(lifted, score_rank=9), barred=barred)).get_supxlabel()
    assert "Place by score, and in the list: Clay pot 9, 1." in small_print
    assert "Rake (hidden by rules:garden/1 (brand Acme))" in small_print.replace("\n", " ")
    # Many events are counted rather than listed.
    events = [event(n, f"i{n}", f"Item {n}", 0.1) for n in range(1, 9)]
    session = [{"item_id": own.item_id, "title": own.title} for own in events]
    said = explained(explanation(item(events=events), session=session, attention=None))
    assert "Item 5 (10 %) and 3 more" in said and "Item 6 (" not in said


def test_a_picture_shows_items_events_parts_and_attention() -> None:
    figure = explanation_figure(explanation(item(), item(rank=2, item_id="jar", cold=True)))
    events, attention, parts, _ = figure.axes
    headings = [label.get_text().replace("\n", " ") for label in events.get_xticklabels()]
    assert headings == ["1. Clay pot (pot)", "2. Clay pot (jar)"]
    assert [label.get_text() for label in events.get_yticklabels()] == ["1. Red rose", "2. Fern", "3. Red rose"]
    assert events.collections[0].get_array().tolist() == [[0.6, 0.6], [-0.1, -0.1], [0.3, 0.3]]
    assert attention.collections[0].get_array().tolist() == [[0.25], [0.5], [0.25]]
    assert [label.get_text() for label in parts.get_yticklabels()] == ["behaviour", "text"]
    assert parts.collections[0].get_array().tolist() == [[0.75, 0.75], [-0.25, -0.25]]
    assert "New, with too few events for behaviour of their own: Clay pot." in figure.get_supxlabel()
    alone = explanation_figure(explanation(item(rank=None), attention=None, notes=["Nothing attends."]))
    assert [label.get_text() for label in alone.axes[0].get_xticklabels()] == ["Clay pot"]
    assert len(alone.axes) == 2
    assert "Nothing attends." in alone.get_supxlabel()


def test_explain_from_the_command_line(garden: Any, home: Path) -> None:
    (home / "hub.yaml").write_text("text: {name: tiny}\nimage: null\ncontrastive: {steps: 0}\n")
    for command in ("hub train --config hub.yaml", "index build hub:1 --domain garden", "promote index:garden/1"):
        assert garden(*command.split()).code == 0
    told = garden("explain", "garden", "--session", "rose,oak", "-k", "2", "--plot", "why.svg")
    assert told.code == 0, told.err
    assert "Served by hub:1, items of the session are ranked.\n" in told.out
    assert "Unknown items left out: oak." in told.out
    assert "1. Red rose (rose)" in told.out and "because of  Red rose (100 %)" in told.out
    assert "The picture is in why.svg." in told.err
    written = [text.text or "" for text in ET.fromstring((home / "why.svg").read_text(encoding="utf-8")).iter(SVG)]
    assert {"Why garden shows these items", "1. Red rose", "Parts of the score", "text", "100 %"} <= set(written)
    assert garden("explain", "garden", "--session", "rose", "--plot", "why.png").code == 0
    assert (home / "why.png").read_bytes().startswith(b"\x89PNG")
    assert not list(home.glob(".why*"))
    asked = ("--item", "pot", "--item", "fern", "--exclude-seen")
    data = garden("explain", "garden", "--session", "rose", *asked, "--json").json
    assert [own["item_id"] for own in data["items"]] == ["pot", "fern"]
    assert (data["items"][0]["events"][0]["item_id"], data["attention"]) == ("rose", None)
    (home / "folder.svg").mkdir()
    for arguments, code, words in (
        ((), 2, "which no event explains; name the items"),
        (("--session", "rose", "--user", "ann"), 2, "give one of them"),
        (("--session", "oak"), 5, "None of the 1 items"),
        (("--session", "rose", "--item", "oak"), 5, "'oak' is not in index:garden/1"),
        (("--session", "rose", "--plot", "why.bmp"), 2, "why.bmp is bmp; name it why.svg"),
        (("--session", "rose", "--plot", "gone/why.svg"), 2, "There is no folder gone"),
        (("--session", "rose", "--plot", "folder.svg"), 2, "folder.svg is a folder"),
    ):
        told = garden("explain", "garden", *arguments)
        assert (told.code, told.out, words in told.err) == (code, "", True), told.err


def test_options_reach_the_workspace(garden: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(Workspace, "explain", lambda _, *own, **more: calls.append((own, more)) or explanation(item()))
    garden("explain", "garden:1", "--user", "ann", "-k", "2", "--exclude-seen", "--item", "pot", "--near", "0.9")
    asked = {"user": "ann", "k": 2, "exclude_seen": True, "items": ("pot",), "filter": None}
    asked |= {"diversity": 0.0, "near": 0.9}
    assert calls == [(("garden:1", []), asked)]
