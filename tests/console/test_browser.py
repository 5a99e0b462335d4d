"""The pages in a real browser: nothing the policy forbids, nothing axe-core objects to, no sideways scrolling, and what
clicks and keys do."""

import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
import uvicorn
from hubspoke.console.app import create_app
from hubspoke.console.settings import ConsoleSettings
from hubspoke.serving.server import Server
from hubspoke.workflows.workspace import Workspace

from .browsers import open_browser

pytestmark = [pytest.mark.browser, pytest.mark.slow]
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
PAGES = (
    "",
    "sign-in",
    "hubs",
    "nowhere",
    "nodes?ref=lamps:2",
    "categories/lamps",
    "categories/lamps/promote?ref=release:lamps/2",
    "categories/lamps/try?session=lamps-0000&session=lamps-0001&against=lamps@candidate",
    "categories/lamps/experiments/1",
    "categories/lamps/experiments/new",
    "categories/lamps/items",
    "categories/lamps/item?id=lamps-0002",
    "categories/mugs/data",
    "categories/lamps/rules",
    "categories/lamps/map",
    "categories/lamps/quality",
)


class Site:
    """A console that listens on a port of this machine."""

    def __init__(self, workspace: Workspace, **settings: Any) -> None:
        app = create_app(workspace, ConsoleSettings(**settings))
        self.token = app.state.desk.access.token
        listening: Queue[str] = Queue()
        config = uvicorn.Config(app, port=0, log_config=None, access_log=False, ws="none")
        self._server = Server(config, listening.put)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        self.address = f"{listening.get(timeout=30)}/console/"

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as found:
        yield found


@pytest.fixture(scope="module")
def site(looked_at: Workspace) -> Iterator[Site]:
    found = Site(looked_at)
    yield found
    found.close()


@pytest.fixture
def own_site(changed: Workspace) -> Iterator[Site]:
    found = Site(changed, allow_changes=True)
    yield found
    found.close()


def look(browser: Any, **how: Any) -> tuple[Any, list[str]]:
    """A page in a window of its own, and what the browser complains of."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "bypass_csp": False} | how)
    page, complaints = context.new_page(), []
    page.set_default_timeout(30_000)
    page.on("console", lambda told: complaints.append(told.text) if told.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return page, complaints


def settle(page: Any, address: str) -> None:
    page.goto(address)
    page.wait_for_function("() => !document.querySelector('[aria-busy=true], .waiting')")
    page.wait_for_load_state("networkidle")


def require_accessible(page: Any) -> None:
    """Nothing on the page, light or dark, keeps people out as far as axe-core can tell."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']}).then((r) => r.violations)")
        assert [(own["id"], own["nodes"][0]["html"][:200]) for own in found] == [], scheme


@pytest.mark.parametrize("path", PAGES)
def test_a_page_keeps_to_its_policy_pleases_axe_and_fits_a_phone(browser: Any, site: Site, path: str) -> None:
    page, complaints = look(browser)
    settle(page, site.address + path)
    assert [own for own in complaints if "404 (Not Found)" not in own] == []
    require_accessible(page)
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.context.close()


def test_a_session_is_clicked_explained_and_compared(browser: Any, site: Site) -> None:
    page, complaints = look(browser)
    settle(page, f"{site.address}categories/lamps/try")
    page.fill("#words", "oak")
    page.wait_for_function("() => document.querySelectorAll('#found li').length > 0")
    page.click("#found li a")
    page.wait_for_selector(".clicked li")
    page.wait_for_selector(".ranked summary")
    page.click(".ranked summary >> nth=0")
    page.wait_for_selector(".why table")
    page.select_option("#against", "lamps@candidate")
    page.click("text=Show")
    page.wait_for_function("() => document.querySelectorAll('.ranked').length === 2")
    page.click(".clicked .remove")
    page.wait_for_selector("text=Nobody has looked at anything yet")
    assert complaints == []
    page.context.close()


def test_a_version_is_promoted_and_taken_back_by_keys_alone(browser: Any, own_site: Site, changed: Workspace) -> None:
    page, complaints = look(browser)
    settle(page, f"{own_site.address}sign-in")
    assert page.evaluate("document.activeElement.id") == "secret"
    page.keyboard.type(own_site.token)
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Sign out")
    page.goto(f"{own_site.address}categories/lamps/promote?ref=release:lamps/2")
    page.focus("#reason")
    page.keyboard.type("better on cold items")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=status] >> text=Promoted")
    assert changed.registry.domains.get("lamps").live == "release:lamps/2"
    page.click("text=Roll back")
    page.fill("#reason", "complaints")
    page.click("text=Roll back to release:lamps/1")
    page.wait_for_selector("[role=status] >> text=Rolled back")
    assert changed.registry.domains.get("lamps").live == "release:lamps/1"
    assert complaints == []
    page.context.close()


def test_an_experiment_is_ended_and_another_started(browser: Any, own_site: Site, changed: Workspace) -> None:
    page, complaints = look(browser)
    settle(page, f"{own_site.address}sign-in")
    page.fill("#secret", own_site.token)
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Sign out")
    page.goto(f"{own_site.address}categories/lamps/experiments/1")
    require_accessible(page)
    page.fill("#stop-reason", "seen enough")
    page.click("text=End experiment:lamps/1")
    page.wait_for_selector("[role=status] >> text=Ended")
    page.goto(f"{own_site.address}categories/lamps/experiments/new")
    require_accessible(page)
    page.fill("#share", "20")
    page.fill("#reason", "once more")
    page.click("text=Start the experiment")
    page.wait_for_selector("[role=status] >> text=Started")
    assert changed.experiments.find("lamps").share == 0.2
    assert complaints == []
    page.context.close()


def test_rules_show_what_they_change(browser: Any, own_site: Site) -> None:
    page, complaints = look(browser)
    settle(page, f"{own_site.address}categories/lamps/rules")
    page.fill("#pin", "lamps-0009")
    page.click("text=Show what changes")
    page.wait_for_selector("text=Under these rules")
    assert page.locator(".compact .moved").count() > 0
    page.fill("#pin", "nothing")
    page.click("text=Show what changes")
    page.wait_for_selector("#preview [role=alert] >> text=correct these names")
    assert [own for own in complaints if "422" not in own] == []
    page.context.close()


def test_the_map_names_what_is_pointed_at_and_lists_what_is_circled(browser: Any, site: Site) -> None:
    page, complaints = look(browser)
    page.goto(f"{site.address}categories/lamps/map")
    page.wait_for_selector("#map[data-ready=drawn]")
    page.check("input[value=price]")
    assert page.is_visible("#legend-price") and page.is_hidden("#legend-category")
    box = page.locator("#map").bounding_box()
    corners = [(0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99), (0.01, 0.05)]
    for n, (x, y) in enumerate(corners):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        if n == 0:
            page.mouse.down()
    page.mouse.up()
    page.wait_for_selector("#circled h2")
    held = int(page.inner_text("#circled h2").split()[0])
    assert 36 <= held <= 40
    assert page.locator("#circled .product").count() == held
    assert complaints == []
    page.context.close()


def test_the_first_key_skips_to_the_content(browser: Any, site: Site) -> None:
    page, _ = look(browser)
    settle(page, site.address)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.context.close()


def test_the_lineage_is_drawn(browser: Any, site: Site) -> None:
    page, complaints = look(browser)
    settle(page, f"{site.address}nodes?ref=lamps:2")
    page.wait_for_selector("#lineage canvas", state="attached")
    assert complaints == []
    page.context.close()
