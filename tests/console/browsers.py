"""Which browser the tests of pages drive: Playwright's own Chromium, or one of the system."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

INSTALLED = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def open_browser() -> Iterator[Any]:
    """A headless Chromium; the test is skipped where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="pages are tested in a browser by playwright")
    found = next(filter(None, map(shutil.which, INSTALLED)), None)
    with api.sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except api.Error as error:
            pytest.skip(f"there is no Chromium (apt-get install chromium): {str(error).splitlines()[0]}")
        yield browser
        browser.close()
