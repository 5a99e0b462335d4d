"""`hubspoke bundle`: what it writes, what it says of itself, and its exit codes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

REF = "snapshot:garden/items/1"
FILE = "garden-items-1.hubspoke"


@pytest.fixture
def bundled(garden: Any, home: Path) -> Any:
    """`run` where a bundle of garden's catalog lies beside two workspaces, of which `.other` is empty."""
    made = garden("bundle", "export", REF)
    assert made.code == 0, made.err
    assert garden("init", "--workspace", ".other").code == 0
    return garden


def test_an_export_says_what_it_wrote(garden: Any, home: Path) -> None:
    planned = garden("bundle", "export", REF, "--dry-run")
    assert planned.out.startswith(f"{REF} would be written to {home / FILE}.\n")
    assert not (home / FILE).exists()
    made = garden("bundle", "export", REF)
    digest = hashlib.sha256((home / FILE).read_bytes()).hexdigest()
    assert made.out.startswith(f"{REF} written to {home / FILE}.\n")
    assert f"sha256     {digest}" in made.out
    assert "nodes      1 domain, 1 item snapshot" in made.out
    assert "The weights of packaged or downloaded encoders and the pictures of products are not in it" in made.out
    again = garden("bundle", "export", REF)
    assert (again.code, "--force" in again.err) == (2, True)
    told = garden("bundle", "export", REF, "--force", "--output", "x.hubspoke", "--json").json
    assert (told["file"], told["sha256"], told["bytes"]) == ("x.hubspoke", digest, (home / FILE).stat().st_size)
    assert "shoppers" in garden("bundle", "export", "snapshot:garden/events/1").out


def test_an_import_says_what_came_in_and_how_to_serve_it(bundled: Any, home: Path) -> None:
    digest = hashlib.sha256((home / FILE).read_bytes()).hexdigest()
    other = ("--workspace", ".other")
    planned = bundled("bundle", "import", FILE, "--dry-run", *other)
    assert planned.out.startswith(f"{REF} of the bundle would come in as {REF}.\n")
    done = bundled("bundle", "import", FILE, "--sha256", digest, *other)
    assert done.out.startswith(f"{REF} of the bundle came in as {REF}.\n")
    assert "new here          2" in done.out
    assert "artifacts stored  1" in done.out
    assert f"sha256            {digest}" in done.out
    told = bundled("bundle", "import", FILE, "--json", *other).json
    assert (told["cached"], told["created"], told["refs"][REF], told["promotion"]) == (True, [], REF, None)
    again = bundled("bundle", "import", FILE, *other)
    assert again.out.startswith(f"{REF} of the bundle is here already: {REF}.\n")
    assert "promote" not in again.out
    assert bundled("data", "snapshots", "--json", *other).json["snapshots"][0]["ref"] == REF


def test_new_numbers_are_listed(bundled: Any, home: Path) -> None:
    (home / "more.csv").write_text("item_id,title\noak,Oak\nelm,Elm\n")
    other = ("--workspace", ".other")
    assert bundled("domain", "add", "garden", "--items", "more.csv", *other).code == 0
    done = bundled("bundle", "import", FILE, *other)
    assert done.out.startswith(f"{REF} of the bundle came in as snapshot:garden/items/2.\n")
    assert f"{REF}  snapshot:garden/items/2" in done.out


def test_refusals_have_their_exit_codes(bundled: Any, home: Path) -> None:
    other = ("--workspace", ".other")
    assert bundled("bundle", "export", "release:garden/1").code == 5
    assert bundled("bundle", "import", "nowhere", *other).code == 5
    assert bundled("bundle", "import", FILE, "--alias", "live", *other).code == 2
    assert bundled("bundle", "import", FILE, "--sha256", "0" * 64, *other).code == 4
    assert bundled("bundle", "import", FILE, "--sha256", "0", *other).code == 2
    content = bytearray((home / FILE).read_bytes())
    content[len(content) // 2] ^= 1
    (home / FILE).write_bytes(content)
    failed = bundled("bundle", "import", FILE, "--json", *other)
    assert (failed.code, failed.json["error"]["type"]) == (4, "InvalidDataError")
    assert "is damaged or was tampered with" in failed.err
    assert bundled("domain", "list", "--json", *other).json["domains"] == []
