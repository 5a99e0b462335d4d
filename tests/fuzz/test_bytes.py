"""Whatever bytes a bundle, an artifact or a feed is made of: it is read as what it is, or refused in one sentence."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hubspoke.registry.artifacts.manifests import parse as parse_artifact
from hubspoke.workflows.bundle_files import BundleFile, Member, encode, member_name, write_bundle
from hypothesis import given
from hypothesis import strategies as st

FIXTURES = sorted((Path(__file__).resolve().parents[1] / "catalog" / "feeds" / "fixtures").iterdir())
PIECES = [
    b"\x00", b"\xff", b"\n", b'"', b",", b"{", b"}", b"<", b"&", b"NaN", b"-1", b"1e999", b"\xef\xbb\xbf", b"null",
    b"PAR1", b"\r\n", b"\t", b";", b"\\", b"'", b"]]>", b"\xf0\x9f\x98\x80", b"../", b"9" * 30,
]  # fmt: skip
Edit = tuple[str, float, bytes]
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut off", "insert", "replace", "take out", "double"]),
        st.floats(0, 1, exclude_max=True),
        st.sampled_from(PIECES) | st.binary(min_size=1, max_size=6),
    ),
    min_size=1,
    max_size=4,
)
HOSTILE = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=6),
    st.sampled_from([[], {}, [1], {"a": 1}, "garden", "garden:1", "../x", "hub:1", "2026-05-01", "0" * 64, "live"]),
)  # fmt: skip


def edited(whole: bytes, edits: Sequence[Edit]) -> bytes:
    """Bytes after each edit, at its share of the way."""
    for kind, share, piece in edits:
        at = int(share * len(whole))
        head, tail = whole[:at], whole[at:]
        whole = {
            "flip": head + bytes([tail[0] ^ (piece[0] or 1)]) + tail[1:] if tail else head,
            "cut off": head,
            "insert": head + piece + tail,
            "replace": head + piece + tail[len(piece) :],
            "take out": head + tail[max(1, len(piece) * 20) :],
            "double": head + tail[:200] + tail,
        }[kind]
    return whole


# ---- bundles ----

IMPORT = ("bundle", "import", "edited.zip", "--workspace", "empty", "--json")


@given(edits=EDITS)
def test_a_bundle_of_other_bytes_is_refused(shop: Any, edits: list[Edit]) -> None:
    whole = (shop.folder / "garden.zip").read_bytes()
    (shop.folder / "edited.zip").write_bytes(changed := edited(whole, edits))
    assert shop(*IMPORT).code == (0 if changed == whole else 4)


def places(tree: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to every value of a document."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [way, *(place for key, value in inner for place in places(value, (*way, key)))]


def change(tree: Any, way: Sequence[Any], value: Any, take_out: bool) -> None:
    """Set, or take out, what stands at the end of a way."""
    *outer, last = way
    for key in outer:
        tree = tree[key]
    if take_out:
        del tree[last]
    else:
        tree[last] = value


@given(
    shares=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=2), value=HOSTILE, take_out=st.booleans()
)
def test_a_forged_bundle_is_refused_or_makes_a_sound_registry(
    shop: Any, shares: list[float], value: Any, take_out: bool
) -> None:
    with BundleFile(shop.folder / "garden.zip") as bundle:
        document = copy.deepcopy(bundle.document())
    sealed = [parse_artifact(json.dumps(own).encode(), own["digest"]) for own in document["artifacts"]]
    files = {member_name(own.stored.digest, path): (own, path) for own in sealed for path in own.sizes}
    members = [Member(name, own.sizes[path], own.stored.files[path]) for name, (own, path) in sorted(files.items())]
    source = {name: artifact(shop, own.stored.digest) / path for name, (own, path) in files.items()}
    order = [name for own in document["artifacts"] for name in sorted(n for n in files if own["digest"] in n)]
    members.sort(key=lambda member: order.index(member.name))
    for share in shares:
        ways = places(document)[1:]
        change(document, ways[int(share * len(ways))], value, take_out)
    try:
        manifest = encode(document)
    except Exception:  # what JSON has no word for cannot stand in a bundle
        return
    write_bundle(shop.folder / "edited.zip", manifest, members, lambda member: source[member.name])
    outcome = shop.run(*IMPORT)
    sound = shop.run("doctor", "--verify", "--workspace", "empty")
    shop.judge(outcome)
    assert sound.code == 0, f"{outcome} {sound}"


# ---- stored artifacts ----

ASKED = (
    ("recommend", "garden", "--session", "i3,i5", "--json"),
    ("recommend", "pots", "--session", "i3", "--json"),
    ("similar", "garden", "i3", "--json"),
    ("search", "garden", "red", "--json"),
    ("explain", "garden", "--session", "i3", "--json"),
    ("data", "diff", "snapshot:garden/items/1", "snapshot:pots/items/1", "--json"),
    ("data", "sessions", "garden", "--json"),
    ("lineage", "show", "garden", "--json"),
    ("index", "check", "garden", "--json"),
    ("bundle", "export", "garden", "--dry-run", "--json"),
    ("promote", "garden:1", "--dry-run", "--json"),
    ("doctor", "--verify", "--json"),
    ("rules", "check", "garden", "--json"),
    ("evaluate", "run", "--domain", "garden", "--model", "garden:1", "--no-record", "--json"),
)


def artifact(shop: Any, digest: str) -> Path:
    """Where an artifact of the shop lies."""
    folder: Path = shop.folder / ".hubspoke" / "artifacts" / digest[:2] / digest
    return folder


@given(share=st.floats(0, 1, exclude_max=True), edits=EDITS, asked=st.sampled_from(ASKED))
def test_a_damaged_artifact_gives_the_same_answer_or_is_told(
    shop: Any, share: float, edits: list[Edit], asked: tuple[str, ...]
) -> None:
    right = shop.right.setdefault(asked, shop(*asked))
    stored = sorted(path for path in (shop.folder / ".hubspoke" / "artifacts").rglob("*") if path.is_file())
    path = stored[int(share * len(stored))]
    whole = path.read_bytes()
    path.write_bytes(edited(whole, edits))
    try:
        found = shop(*asked)
    finally:
        path.write_bytes(whole)
    assert found.code in (4, 5) or timeless(found) == timeless(right), f"{path.name}: {found}"


def timeless(outcome: Any) -> Any:
    """What a command said, without the time that it took."""
    return outcome.code, {key: value for key, value in outcome.json.items() if "seconds" not in key}


# ---- feeds ----


@pytest.fixture(scope="module")
def feeds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The small files of every format, and of the containers that none of them is in."""
    import polars as pl

    folder = tmp_path_factory.mktemp("feeds")
    rows = [{"id": f"a{n}", "title": f"thing {n}", "price": n + 0.5, "tags": ["x", str(n)]} for n in range(5)]
    pl.DataFrame(rows).write_parquet(folder / "items.parquet")
    (folder / "items.json").write_text(json.dumps(rows), encoding="utf-8")
    inside = "".join(f"<item><g:id>{r['id']}</g:id><title>{r['title']}</title></item>" for r in rows)
    google = f'<rss xmlns:g="http://base.google.com/ns/1.0" version="2.0"><channel>{inside}</channel></rss>'
    (folder / "google.xml").write_text(google, encoding="utf-8")
    return [*FIXTURES, *sorted(folder.iterdir())]


READ = (
    ("data", "inspect"),
    ("domain", "validate", "--items"),
    ("domain", "add", "fed", "--dry-run", "--on-error", "skip", "--items"),
    ("data", "ingest", "garden", "--dry-run", "--on-error", "skip", "--events"),
)


@given(share=st.floats(0, 1, exclude_max=True), edits=EDITS, read=st.sampled_from(READ))
def test_any_feed_is_read_or_refused(
    shop: Any, feeds: list[Path], share: float, edits: list[Edit], read: tuple[str, ...]
) -> None:
    feed = feeds[int(share * len(feeds))]
    path = shop.folder / "fed" / feed.name
    shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir()
    path.write_bytes(edited(feed.read_bytes(), edits))
    shop(*read, str(path), "--json")
