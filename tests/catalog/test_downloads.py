from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hubspoke.catalog.downloads import Downloads, download, file_of
from hubspoke.catalog.images import ImageLimits
from hubspoke.catalog.readers import read_items
from PIL import Image

LIMITS = ImageLimits()


class Shop:
    """A server on this machine: what it answers by path, and how often it was asked."""

    def __init__(self) -> None:
        picture = io.BytesIO()
        Image.new("RGB", (16, 16), (1, 2, 3)).save(picture, "PNG")
        self.png = picture.getvalue()
        self.asked: Counter[str] = Counter()

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        self.asked[path] += 1
        if path == "/busy.png":
            return (503 if self.asked[path] == 1 else 200), {}, self.png
        if path.startswith("/to"):
            where = {
                "/to-a.png": "/a.png",
                "/to-file.png": "file:///etc/hosts",
                "/to-cloud": "http://169.254.169.254/a",
            }
            return 302, {"Location": where[path]}, b""
        bodies = {"/a.png": self.png, "/caf%C3%A9.png": self.png, "/page.png": b"<html>", "/big.png": self.png * 20}
        return (200, {}, bodies[path]) if path in bodies else (404, {}, b"")


@pytest.fixture(scope="module")
def shop() -> Iterator[tuple[Shop, str]]:
    made = Shop()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = made.answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def downloads(tmp_path: Path, **options: object) -> Downloads:
    return Downloads(tmp_path / "images", pause=0, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/a.png", None),
        ("/café.png", None),
        ("/busy.png", None),
        ("/to-a.png", None),
        ("/none.png", "the answer is 404 Not Found"),
        ("/page.png", "it cannot be decoded (UnidentifiedImageError); export it again as JPEG or PNG"),
        ("/big.png", "it has more than 0.001 MB"),
        ("/to-file.png", "Redirection to url 'file:///etc/hosts' is not allowed"),
        ("/to-cloud", "169.254.169.254 is an address of this network alone"),
    ],
)
def test_a_picture_is_fetched_or_the_reason_told(
    shop: tuple[Shop, str], tmp_path: Path, path: str, reason: str | None
) -> None:
    address = shop[1] + path
    failed = download([address], downloads(tmp_path), ImageLimits(max_megabytes=0.001))
    assert list(failed) == ([] if reason is None else [address])
    assert (reason or "") in failed.get(address, "")
    assert (tmp_path / "images" / file_of(address)).is_file() == (reason is None)


@pytest.mark.parametrize("address", ["file:///etc/hosts", "ftp://x.example/a.png", "http://[::1", "http://:80/a.png"])
def test_nothing_but_http_is_opened(tmp_path: Path, address: str) -> None:
    assert download([address], downloads(tmp_path), LIMITS)[address].startswith("it is no address")


def test_each_address_is_asked_once_and_kept(shop: tuple[Shop, str], tmp_path: Path) -> None:
    made, host = shop
    address, before = f"{host}/a.png", made.asked["/a.png"]
    told: list[tuple[int, int]] = []
    options = downloads(tmp_path, progress=lambda done, total: told.append((done, total)))
    assert download([address, address], options, LIMITS) == download([address], options, LIMITS) == {}
    assert (made.asked["/a.png"] - before, told) == (1, [(1, 1)])


def test_a_host_that_is_silent_is_asked_no_more_and_so_many_pictures_are_enough(tmp_path: Path) -> None:
    addresses = [f"http://127.0.0.1:9/{i}.png" for i in range(4)]
    failed = download(addresses, downloads(tmp_path, threads=1, attempts=1, patience=2, most=3), LIMITS)
    assert [failed[address].startswith("no answer") for address in addresses] == [True, True, False, False]
    assert failed[addresses[2]] == "127.0.0.1:9 does not answer"
    assert failed[addresses[3]] == "more than 3 are not fetched at once"


def test_a_catalog_takes_what_was_fetched_beside_its_own_files(shop: tuple[Shop, str], tmp_path: Path) -> None:
    made, host = shop
    (tmp_path / "own.png").write_bytes(made.png)
    table = tmp_path / "items.csv"
    table.write_text(f"sku,name,image\n1,Spade,{host}/a.png|own.png\n2,Rake,{host}/none.png\n3,Hoe,{host}/a.png\n")
    read = read_items(table, downloads=downloads(tmp_path))
    folder = tmp_path / "images"
    assert read.image_root == folder
    first, second, third = read.frame["image"].to_list()
    assert (second, third) == (None, [file_of(f"{host}/a.png")])
    assert [(folder / name).read_bytes() for name in first] == [made.png, made.png]
    assert read.report.counts == {"image_not_fetched": 1}
    assert read.report.problems[0].message.endswith("was not fetched: the answer is 404 Not Found; repeat the command.")
    assert f"1 of 2 pictures at addresses are fetched into {folder}" in read.report.notes
