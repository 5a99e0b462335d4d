"""What is shipped for browsers is what its list of licences says, and is kept by them until it changes."""

import hashlib
import re
from pathlib import Path

from fastapi.testclient import TestClient
from hubspoke.console.rendering import STATIC

ROW = re.compile(r"^\| `(vendor/[^`]+)` \| (\S+) \| ([\d.]+) \| (\S+) \| (\S+) `[^`]+` \| ([0-9a-f]{64}) \|$", re.M)


def test_every_foreign_file_has_its_licence_source_and_hash() -> None:
    text = (STATIC / "LICENSES.md").read_text(encoding="utf-8")
    listed = {row[0]: row for row in ROW.findall(text)}
    shipped = {path.relative_to(STATIC).as_posix() for path in (STATIC / "vendor").rglob("*") if path.is_file()}
    assert set(listed) == shipped
    for name, (_, package, version, licence, source, digest) in listed.items():
        assert hashlib.sha256((STATIC / name).read_bytes()).hexdigest() == digest, name
        assert licence in ("0BSD", "MIT") and source.startswith("https://registry.npmjs.org/") and version in source
        assert package in source


def test_files_are_named_by_their_content(visitor: TestClient) -> None:
    page = visitor.get("/console/categories/lamps").text
    names = re.findall(r'(?:href|src)="(/console/static/[^"]+)"', page)
    assert len(names) >= 4
    for name in names:
        answer = visitor.get(name)
        assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"], name
    for name in ("../app.py", "%2e%2e/app.py", "..%2fapp.py", "nothing.js"):
        assert visitor.get(f"/console/static/{name}").status_code == 404


def test_nothing_of_ours_asks_another_server() -> None:
    for path in Path(STATIC).glob("*.*s"):
        assert not re.search(r"https?://(?!www\.w3\.org)", path.read_text(encoding="utf-8")), path


def test_what_is_shipped_is_compressed_and_pages_are_not(visitor: TestClient) -> None:
    page = visitor.get("/console/")
    assert "content-encoding" not in page.headers
    shipped = visitor.get("/console/static/vendor/cytoscape.min.js")
    assert shipped.headers["content-encoding"] == "gzip" and "content-security-policy" in shipped.headers
    assert shipped.content == (STATIC / "vendor" / "cytoscape.min.js").read_bytes()
