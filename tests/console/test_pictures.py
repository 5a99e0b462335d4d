"""Pictures: registered ones alone, made small, kept up to so many bytes."""

import hashlib
import io
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hubspoke.console.thumbnails import Thumbnails, read_registered
from hubspoke.errors import NotFoundError
from PIL import Image


def test_a_registered_picture_is_shown_small_and_kept_by_the_browser(visitor: TestClient) -> None:
    answer = visitor.get("/console/pictures/lamps/1/3/96")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
    assert max(Image.open(io.BytesIO(answer.content)).size) <= 96
    assert "immutable" in answer.headers["cache-control"]
    again = visitor.get("/console/pictures/lamps/1/3/96", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("lamps/1/40/96", 404),
        ("lamps/1/3/97", 404),
        ("lamps/9/3/96", 404),
        ("rugs/1/0/96", 404),
        ("lamps/1/-1/96", 422),
        ("lamps/1/x/96", 422),
        ("lamps/..%2f..%2fregistry.db/3/96", 404),
        ("../../registry.db", 404),
    ],
)
def test_nothing_else_has_an_address(visitor: TestClient, path: str, status: int) -> None:
    assert visitor.get(f"/console/pictures/{path}").status_code == status


def test_a_picture_that_has_changed_or_leaves_its_folder_is_not_read(tmp_path: Path) -> None:
    root = tmp_path / "images"
    root.mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "link").symlink_to(tmp_path / "secret")
    digest = hashlib.sha256(b"secret").hexdigest()
    for name in ("../secret", "link", "missing"):
        with pytest.raises(NotFoundError, match="is gone or has changed"):
            read_registered(root, Path(name), digest)
    (root / "own").write_bytes(b"other")
    with pytest.raises(NotFoundError):
        read_registered(root, Path("own"), digest)


def test_the_cache_holds_so_many_bytes(tmp_path: Path) -> None:
    kept = Thumbnails(1)
    for shade in (0, 99):
        Image.new("RGB", (50, 50), (shade, 0, 0)).save(tmp_path / f"{shade}.png")
        digest = hashlib.sha256((tmp_path / f"{shade}.png").read_bytes()).hexdigest()
        made = kept.get(tmp_path, Path(f"{shade}.png"), digest, 96)
    assert kept.bytes == len(made)  # the last one alone
