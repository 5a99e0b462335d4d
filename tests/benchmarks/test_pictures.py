"""The benchmark of pictures: that its tables say what they claim, on pictures whose words are known."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from benchmarks import pictures, taught

COLOURS = ("red", "green", "blue", "black")
KINDS = ("cup", "bowl", "dish")


def write_category(folder: Path, name: str, sets: bool = False) -> str:
    """Items whose colour and size are in title and picture, shoppers who stay within a colour, rooms of one."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(len(name))
    rows = []
    for i in range(105):
        colour, kind = COLOURS[i % 4], i // 4 % 3
        picture = Image.new("RGB", (32, 32), "white")
        picture.paste(colour, (2, 2, 12 + 8 * kind, int(rng.integers(14, 30))))
        picture.save(folder / "images" / f"{i}.png")
        rows.append((f"{name}{i}", f"brand{i % 7} {colour} {KINDS[kind]}", f"images/{i}.png"))
    pl.DataFrame(rows, schema=["item_id", "title", "image"], orient="row").write_parquet(folder / "items.parquet")
    events = [
        (f"u{user}", f"{name}{4 * int(item) + user % 4}", f"2024-05-01T10:{step:02}:00Z", "view")
        for user in range(16)
        for step, item in enumerate(rng.permutation(17)[:5])
    ]
    if sets:
        rooms = {"set_id": [f"room{i % 4}" for i in range(105)], "item_id": [f"{name}{i}" for i in range(105)]}
        pl.DataFrame(rooms).write_parquet(folder / "sets.parquet")
    else:
        columns = ["user_id", "item_id", "timestamp", "event_type"]
        pl.DataFrame(events, schema=columns, orient="row").write_parquet(folder / "interactions.parquet")
    return f"{name}={folder}"


def test_the_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, image in (("BEFORE", "tiny:1"), ("PLAIN", "tiny")):
        encoders = {"text": {"name": "tiny"}, "image": {"name": image}}
        monkeypatch.setattr(pictures, name, {**getattr(pictures, name), **encoders})
    monkeypatch.setattr(taught, "STEPS", 3)
    given = [write_category(tmp_path / name, name, sets=name == "rooms") for name in ("cups", "bowls", "rooms")]
    out = tmp_path / "report.json"
    pictures.main([*given, "--quiet", "--out", str(out)])
    report = json.loads(out.read_text(encoding="utf-8"))
    assert [row["target"] for row in report["zero_shot"]] == ["cups", "bowls"]
    for row in report["zero_shot"]:
        values = {name: own["value"] for name, own in row["ndcg"].items()}
        assert values["text"] == values["text, before"]  # of the two hubs, only pictures differ
        change = row["differences"]["both"]["value"]
        assert change == pytest.approx(values["both"] - values["both, before"], abs=1e-6)
        assert row["better"] == max(("text", "pictures"), key=lambda name: values[name])
        assert row["share by agreement"] == pytest.approx(0.4 * min(1.0, row["agreement"] / 0.1))
        assert row["agreement"] > 0.0
    for row in report["recall"]:
        assert row["fitted"] > 0 and row["fitted"] + row["items"] == 105
        found = row["recall"]["closed form of its own"]
        assert found[0] <= found[1] and found[2] <= found[3]
        assert found[1] > 10 / row["items"] / 2
    (rooms,) = report["rooms"]
    assert rooms["rooms"] == 4 and rooms["auc"]["image after"]["value"] > 0.5  # one colour a room
    assert "| cups | 16 |" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        pictures.main(["cups=nowhere"])
