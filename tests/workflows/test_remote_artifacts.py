"""A shop whose artifacts lie on an S3 server: from a catalog to the same recommendations on another machine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hubspoke.cli import cli
from hubspoke.registry.artifacts.remote_files import RemoteFiles
from hubspoke.workflows.workspace import open_workspace


def recommend(capsys: pytest.CaptureFixture[str]) -> Any:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main(["recommend", "lamps", "--session", "lamps-0001,lamps-0002", "-k", "5", "--json"])
    written = capsys.readouterr()
    assert ended.value.code == 0, written.err
    return json.loads(written.out)


def test_another_machine_recommends_the_same(
    tmp_path: Path,
    sqlite_template: Path,
    market: Any,
    tiny_hub: Any,
    tiny_spoke: Any,
    s3_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, copies = tmp_path / "shop", tmp_path / "shop" / "cache" / "artifacts"
    folder.mkdir()
    shutil.copy(sqlite_template, folder / "registry.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HUBSPOKE_WORKSPACE", str(folder))
    monkeypatch.setenv("HUBSPOKE_ARTIFACTS", f"{s3_url}/shop/")
    with open_workspace() as ws:
        ws.hub.train(domains=[], config=tiny_hub)
        launched = ws.launch("lamps", market["lamps"].items, events=market["lamps"].events, config=tiny_spoke)
        assert launched.mode == "trained"
        held = list(ws.artifacts.digests())
        assert sorted(artifact.digest for artifact in ws.registry.artifacts.list()) == held
        assert ws.init().artifacts == f"{s3_url}/shop"
        assert ws.doctor(verify=True).exit_code == 0
    first = recommend(capsys)
    assert len(first["items"]) == 5
    assert not (folder / "artifacts").exists()
    assert {path.parts[0] for path in map(Path, RemoteFiles(f"{s3_url}/shop").list())} == {d[:2] for d in held}

    shutil.rmtree(copies)  # another machine, whose disk has none of it
    assert recommend(capsys) == first
    # Fetched is what the recommendation needs: the index, the hub and the spoke, and the items it names.
    fetched = [path.name for path in copies.glob("??/*")]
    assert 3 <= len(fetched) <= len(held)
