"""`hubspoke bundle`: what it says of itself, and its exit codes."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

REF = "snapshot:garden/items/1"
FILE = "garden-items-1.hubspoke"
OTHER = ("--workspace", ".other")


@pytest.fixture
def bundled(garden: Any, home: Path) -> Any:
    """`run` where a bundle of garden's catalog lies beside two workspaces, of which `.other` is empty."""
    made = garden("bundle", "export", REF)
    assert made.code == 0, made.err
    assert garden("init", *OTHER).code == 0
    return garden


def test_an_export_says_what_it_wrote(garden: Any, home: Path) -> None:
    planned = garden("bundle", "export", REF, "--dry-run")
    assert planned.out.startswith(f"{REF} would be written to {home / FILE}.\n")
    assert not (home / FILE).exists()
    made = garden("bundle", "export", REF)
    digest = hashlib.sha256((home / FILE).read_bytes()).hexdigest()
    assert made.out.startswith(f"{REF} written to {home / FILE}.\n")
    assert f"sha256     {digest}" in made.out and "nodes      1 domain, 1 item snapshot" in made.out
    assert "The weights of packaged or downloaded encoders and the pictures of products are not in it" in made.out
    again = garden("bundle", "export", REF)
    assert (again.code, "--force" in again.err) == (2, True)
    told = garden("bundle", "export", REF, "--force", "--output", "x.hubspoke", "--json").json
    assert (told["file"], told["sha256"], told["bytes"]) == ("x.hubspoke", digest, (home / FILE).stat().st_size)


def test_an_import_says_what_came_in(bundled: Any, home: Path) -> None:
    digest = hashlib.sha256((home / FILE).read_bytes()).hexdigest()
    planned = bundled("bundle", "import", FILE, "--dry-run", *OTHER)
    assert planned.out.startswith(f"{REF} of the bundle would come in as {REF}.\n")
    done = bundled("bundle", "import", FILE, "--sha256", digest, *OTHER)
    assert done.out.startswith(f"{REF} of the bundle came in as {REF}.\n")
    for fact in ("new here          2", "artifacts stored  1", f"sha256            {digest}"):
        assert fact in done.out
    again = bundled("bundle", "import", FILE, *OTHER)
    assert again.out.startswith(f"{REF} of the bundle is here already: {REF}.\n") and "promote" not in again.out
    # New numbers are listed.
    third = ("--workspace", ".third")
    (home / "more.csv").write_text("item_id,title\noak,Oak\nelm,Elm\n")
    assert bundled("domain", "add", "garden", "--items", "more.csv", *third).code == 0
    done = bundled("bundle", "import", FILE, *third)
    assert done.out.startswith(f"{REF} of the bundle came in as snapshot:garden/items/2.\n")
    assert f"{REF}  snapshot:garden/items/2" in done.out


def test_refusals_have_their_exit_codes(bundled: Any, home: Path) -> None:
    assert bundled("bundle", "export", "release:garden/1").code == 5
    for arguments, code in ((["nowhere"], 5), ([FILE, "--alias", "live"], 2), ([FILE, "--sha256", "0" * 64], 4)):
        assert bundled("bundle", "import", *arguments, *OTHER).code == code
    content = bytearray((home / FILE).read_bytes())
    content[len(content) // 2] ^= 1
    (home / FILE).write_bytes(content)
    failed = bundled("bundle", "import", FILE, *OTHER)
    assert (failed.code, "is damaged or was tampered with" in failed.err) == (4, True)
    assert bundled("domain", "list", "--json", *OTHER).json["domains"] == []
