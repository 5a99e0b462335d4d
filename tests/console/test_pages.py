"""Every page answers, escapes whatever a catalog holds, and says what went wrong as a page."""

import json
import re
from dataclasses import replace

import pytest
from fastapi import Request
from fastapi.testclient import TestClient
from hubspoke.console.access import Visitor
from hubspoke.console.pages.data import taken
from hubspoke.console.pages.try_it import Trial
from hubspoke.console.rendering import coded, number, page
from hubspoke.registry.records import MetricRecord
from hubspoke.registry.stores.evaluations import NewEvaluation
from hubspoke.workflows.workspace import Workspace

from .conftest import HOSTILE_ID, SCRIPT, Visit

PAGES = (
    "/console/",
    "/console/?q=lamp&show=live",
    "/console/sign-in",
    "/console/categories/lamps",
    "/console/categories/rugs",
    "/console/categories/lamps/glance",
    "/console/categories/rugs/glance",
    "/console/categories/lamps/promote?ref=lamps:2",
    "/console/categories/lamps/try",
    "/console/categories/rugs/try",
    "/console/categories/lamps/try?session=lamps-0000&session=lamps-0001&against=lamps@candidate",
    "/console/categories/lamps/find?q=lamp",
    "/console/categories/lamps/list?session=lamps-0000&session=lamps-0002&k=40&fresh=0",
    "/console/categories/lamps/list",
    "/console/categories/lamps/item?id=lamps-0000",
    "/console/categories/lamps/items",
    "/console/categories/lamps/items?q=oak",
    "/console/hubs",
    "/console/nodes?ref=hub:1",
    "/console/nodes?ref=lamps:2",
    "/console/nodes?ref=lamps:2&against=lamps:1",
    "/console/nodes?ref=release:lamps/2",
    "/console/nodes?ref=index:lamps/1",
    "/console/nodes?ref=evaluation:lamps/1",
    "/console/nodes?ref=snapshot:mugs/items/2",
    "/console/categories/lamps/experiments/1",
    "/console/categories/lamps/experiments/new",
    "/console/categories/mugs/experiments/new",
    "/console/categories/rugs/experiments/new",
    "/console/categories/lamps/data",
    "/console/categories/mugs/data",
    "/console/categories/rugs/data",
    "/console/categories/mugs/data/diff?old=snapshot:mugs/items/1&new=snapshot:mugs/items/2",
    "/console/categories/lamps/rules",
    "/console/categories/lamps/map",
    "/console/categories/rugs/map",
    "/console/categories/lamps/map/legend",
    "/console/categories/lamps/map/products?rows=0,1,2",
    "/console/categories/lamps/quality",
    "/console/categories/lamps/quality?ref=evaluation:lamps/2",
    "/console/categories/rugs/quality",
)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_answers_with_what_keeps_it_safe(visitor: TestClient, page: str) -> None:
    answer = visitor.get(page)
    assert answer.status_code == 200, answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    # What the policy forbids would be broken: no styles, handlers or scripts in the page itself.
    assert not re.search(r"<[^>]+ style=|<[^>]+ on[a-z]+=|<script>|<style|javascript:", answer.text)


@pytest.mark.parametrize("page", PAGES)
def test_no_title_of_a_catalog_becomes_markup(visitor: TestClient, page: str) -> None:
    text = visitor.get(page).text
    assert (
        "<script>alert" not in text and "<img src=x" not in text and "<b>shades" not in text and "<b>warmer" not in text
    )
    assert "{{" not in text.replace("{{ 7 * 7 }}", "") and " 49" not in text
    if "item?id" not in page:
        assert "endless " * 100 not in text  # a title of ten thousand letters is cut in lists


def test_an_id_that_is_a_script_is_shown_as_it_is(visitor: TestClient) -> None:
    text = visitor.get("/console/categories/lamps/items?q=script").text
    address = re.search(r'href="(/console/categories/lamps/item\?id=[^"]+)"', text)
    assert address
    own = visitor.get(address[1]).text
    assert "&#34;&gt;&lt;script&gt;alert(&#39;owned&#39;)&lt;/script&gt;" in own
    assert visitor.get("/console/categories/lamps/list", params={"session": HOSTILE_ID}).status_code == 200


@pytest.mark.parametrize("part", ["products", "found"])
def test_a_title_that_is_a_script_is_shown_as_it_is(visitor: TestClient, part: str) -> None:
    # Reading takes tags out of titles; pages must not count on it.
    desk = visitor.app.state.desk  # type: ignore[attr-defined]
    shelf = desk.shelf("lamps")
    product = replace(shelf.product("lamps-0003"), title=SCRIPT, brand=SCRIPT, category=SCRIPT)
    scope = {"type": "http", "path": "/", "root_path": "/console", "headers": [], "desk": desk, "visitor": Visitor("1")}
    trial = Trial("lamps", "", (SCRIPT,), 3, True)
    told = {
        "products": [product],
        "shelf": shelf,
        "domain": desk.workspace.registry.domains.get("lamps"),
        "trial": trial,
        "q": SCRIPT,
    }
    text = page(Request(scope), f"parts/{part}.html", **told).body.decode()
    assert "&lt;script&gt;alert(&#39;owned&#39;)" in text and "<script" not in text and "<img src=x" not in text


def test_a_long_title_is_there_in_full_on_its_own_page(visitor: TestClient) -> None:
    text = visitor.get("/console/categories/lamps/item?id=lamps-0002").text
    assert "endless " * 1200 in text


def test_the_overview_tells_what_is_live_behind_and_measured(visitor: TestClient, looked_at: Workspace) -> None:
    text = visitor.get("/console/").text
    cards = {re.search(r'categories/(\w+)"', card)[1]: card for card in re.findall(r"<h2>.*?</li>", text, re.S)}  # type: ignore[index]
    assert list(cards) == ["mugs", "lamps", "rugs"]  # what needs somebody first, what is not live last
    assert "behind" in cards["mugs"] and "newer items" in cards["mugs"]
    assert "release:lamps/1" in cards["lamps"] and "behind" not in cards["lamps"]
    assert "not live" in cards["rugs"]
    glance = visitor.get("/console/categories/lamps/glance").text
    measured = next(own for own in looked_at.registry.evaluations.list("lamps") if own.subject == "lamps:1")
    assert f"<strong>{measured.metric('ndcg@10').value:.4f}</strong>" in glance  # type: ignore[union-attr]
    assert glance.count("/console/pictures/lamps/1/") == 6
    assert "No category is called that" in visitor.get("/console/?q=zzz").text


def test_a_category_tells_who_made_what_live_and_why(visitor: TestClient) -> None:
    text = visitor.get("/console/categories/lamps").text
    assert [word for word in ("first release", "tester", "popularity", "95 % interval") if word not in text] == []
    assert "promote?ref=release:lamps/2" in text.replace("%3A", ":").replace("%2F", "/")


def test_the_launch_curve_is_drawn_and_told(visitor: TestClient, looked_at: Workspace) -> None:
    text = visitor.get("/console/categories/lamps").text
    curve = text.partition('id="curve"')[2].partition("</section>")[0]
    drawn = json.loads(re.search(r'id="points-curve">(.*?)</script>', curve, re.S)[1])  # type: ignore[index]
    # Both knew the same events, so the newer one stands there.
    assert drawn["labels"] == ["lamps:2"] and len(drawn["places"]) == 1
    assert [own["label"] for own in drawn["series"]] == ["spoke", "hub:1 alone", "popularity"]
    alone = looked_at.registry.evaluations.list(subject="hub:1")[0].metric("ndcg@10")
    assert alone and f"{alone.low:.4f} to {alone.high:.4f}" in curve
    assert ">lamps:1</a>" in curve and ">lamps:2</a>" in curve and ">popularity</th>" in curve
    assert 'id="curve"' not in visitor.get("/console/categories/mugs").text


def test_commands_in_a_sentence_are_marked_and_nothing_else_becomes_markup() -> None:
    assert coded("<b> `hubspoke gate show <b>` `") == "&lt;b&gt; <code>hubspoke gate show &lt;b&gt;</code> `"


@pytest.mark.parametrize(
    ("value", "told"), [(0.0, "0.0000"), (4.954e-18, "5.0e-18"), (-0.00001, "-1.0e-05"), (0.25, "0.2500")]
)
def test_a_small_number_is_not_shown_as_none(value: float, told: str) -> None:
    assert number(value) == told


def test_a_session_is_answered_and_explained(visitor: TestClient) -> None:
    asked = "session=lamps-0000&session=lamps-0005&k=3"
    text = visitor.get(f"/console/categories/lamps/list?{asked}").text
    assert text.count('class="rank"') == 3 and "By lamps:1" in text
    item = re.search(r"item\?id=(lamps-\d+)", text)
    assert item
    why = visitor.get(f"/console/categories/lamps/why?{asked}&item={item[1]}").text
    assert "What the score is made of" in why and "Because of" in why
    beside = visitor.get(f"/console/categories/lamps/list?{asked}&ref=lamps@candidate").text
    assert "By lamps:2" in beside


@pytest.mark.parametrize(
    ("page", "status", "says"),
    [
        ("/console/categories/gardens", 404, "There is no domain"),
        ("/console/categories/lamps/item?id=nothing", 404, "is not in snapshot:lamps/items/1"),
        ("/console/categories/rugs/item?id=1", 404, "has no items yet"),
        ("/console/categories/lamps/list?ref=mugs", 400, "mugs is not of lamps"),
        ("/console/categories/lamps/list?ref=%3Cscript%3E", 400, "&lt;script&gt;"),
        ("/console/categories/lamps/list?session=nothing&fresh=0&k=51", 422, "less than or equal to 50"),
        ("/console/categories/lamps/list?" + "&".join(["session=lamps-0000"] * 31), 422, "correct the request"),
        ("/console/categories/lamps/items?q=" + "x" * 201, 422, "at most 200"),
        ("/console/categories/lamps/promote?ref=mugs:1", 404, "mugs:1"),
        ("/console/categories/lamps/promote?ref=index:mugs/1", 400, "not of lamps"),
        ("/console/categories/rugs/rollback", 404, "rugs"),
        ("/console/nodes?ref=gardens:1", 404, "gardens"),
        ("/console/nodes?ref=" + "x" * 201, 422, "at most 200"),
        ("/console/categories/mugs/data/diff?old=snapshot:lamps/items/1&new=snapshot:mugs/items/2", 400, "not of mugs"),
        ("/console/categories/rugs/map/legend", 404, "Nothing is live in rugs"),
        ("/console/categories/lamps/map/products?rows=40", 400, "40 products"),
        ("/console/categories/lamps/map/products?rows=1;2", 422, "rows"),
        ("/console/categories/lamps/experiments/2", 404, "There is no experiment:lamps/2"),
        ("/console/categories/lamps/experiments/0", 422, "greater than or equal to 1"),
        ("/console/nowhere", 404, "nothing at this address"),
    ],
)
def test_an_error_is_a_page_with_its_sentence_and_status(
    visitor: TestClient, page: str, status: int, says: str
) -> None:
    answer = visitor.get(page)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8"), answer.text
    assert says in answer.text and "<h1>" in answer.text and "Traceback" not in answer.text
    part = visitor.get(page, headers={"HX-Request": "true"})
    assert part.status_code == status and says in part.text and "<html" not in part.text


def test_a_node_tells_where_it_came_from_and_what_differs(visitor: TestClient) -> None:
    text = visitor.get("/console/nodes?ref=lamps:2").text
    graph = json.loads(re.search(r'id="lineage-data">(.*?)</script>', text, re.S)[1])  # type: ignore[index]
    sides = {own["id"]: own["side"] for own in graph["nodes"]}
    assert sides["hub:1"] == "up" and sides["lamps:2"] == "root" and sides["release:lamps/2"] == "down"
    assert {own["id"] for own in graph["nodes"] if own["changed"]} == {"index:lamps/2", "release:lamps/2"}
    assert "transformer.dimension" in text and "metrics" in text
    assert visitor.get("/console/nodes?ref=domain:lamps", follow_redirects=False).status_code == 303


def test_the_data_tells_what_was_left_out_and_what_changed(visitor: TestClient) -> None:
    text = visitor.get("/console/categories/lamps/data").text
    assert "sessions under 3 left out" in text and "repeats collapsed" in text
    changed = visitor.get("/console/categories/mugs/data/diff?old=snapshot:mugs/items/1&new=snapshot:mugs/items/2").text
    assert "0 products new" in changed and "10 products gone" in changed and changed.count('class="product"') == 10


def test_rows_with_problems_are_shown_where_the_snapshot_kept_them(visitor: TestClient, looked_at: Workspace) -> None:
    text = visitor.get("/console/categories/mugs/data").text
    problems = text.partition("<h3>Problems</h3>")[2].partition("</section>")[0]
    assert re.search(r'<td class="num">31</td>.*<td class="num">32</td>', problems, re.S) and "2 rows" in problems
    assert "&lt;script&gt;" in problems
    record = looked_at.registry.snapshots.get("snapshot:mugs/items/2")
    assert taken(record).problems
    report = {name: value for name, value in record.details["report"].items() if name != "problems"}
    older = taken(replace(record, details={**record.details, "report": report}))
    assert older.problems is None


def test_a_typed_session_is_read_as_the_command_reads_it(visitor: TestClient) -> None:
    asked = {"add": '"a,b", lamps-0000,"lamps-0001"'}
    text = visitor.get("/console/categories/lamps/try", params=asked).text
    assert re.findall(r'name="session" value="([^"]+)"', text) == ["a,b", "lamps-0000", "lamps-0001"]
    answer = visitor.get("/console/categories/lamps/try", params={"add": '"a,b'})
    assert answer.status_code == 400 and "begins with a quote that does not end it" in answer.text


def test_the_map_has_every_product_once(visitor: TestClient) -> None:
    content = visitor.get("/console/categories/lamps/map/points").content
    assert len(content) == 40 * 7  # two places of two bytes, a byte each of category, price and coldness
    assert "40 products" in visitor.get("/console/categories/lamps/map/legend").text


def test_the_card_of_what_is_live_has_the_newest_numbers_and_what_they_are_held_to(
    changed: Workspace, open_console: Visit
) -> None:
    for value in (0.1, 0.95):
        metrics = [MetricRecord("all", "partition_isotropy", value), MetricRecord("cold", "partition_isotropy", 0.5)]
        protocol = {"name": "quality", "description": "space and index of lamps:1"}
        changed.registry.evaluations.add(
            NewEvaluation("lamps", "lamps:1", "snapshot:lamps/events/1", protocol, 40, metrics)
        )
    text = open_console(changed).get("/console/categories/lamps/quality").text
    card = text.partition('id="live-card"')[2].partition("</section>")[0]
    assert "partition isotropy" in card and "0.9500" in card and ">met<" in card and "0.1000" not in card
    assert "ndcg@10" in card and "ndcg@100" not in card
    assert "space and index of lamps:1" in text


def test_drift_beyond_its_threshold_is_an_alarm(changed: Workspace, open_console: Visit) -> None:
    client = open_console(changed)
    assert "drift" not in client.get("/console/categories/lamps/glance").text
    metrics = [MetricRecord("all", "drift", 0.4), MetricRecord("all", "hubness", 0.5)]
    protocol = {"name": "drift", "description": "from lamps:2 to lamps:1"}
    changed.registry.evaluations.add(
        NewEvaluation("lamps", "lamps:1", "snapshot:lamps/events/1", protocol, 40, metrics)
    )
    glance = client.get("/console/categories/lamps/glance").text
    assert ">drift not met<" in glance and "drift ≤&nbsp;0.1, is 0.4000" in glance and "hubness" not in glance
    card = client.get("/console/categories/lamps").text.partition('id="card"')[2].partition("</section>")[0]
    assert card.index("drift") < card.index("hubness") and card.count(">met<") == 1 and card.count(">not met<") == 1
