"""A shop whose artifacts lie on an S3 server: from a catalog to the same recommendations on another machine."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hubspoke.cli import cli
from hubspoke.registry.artifacts.remote_files import RemoteFiles


@pytest.mark.slow
def test_another_machine_serves_the_same(opened: Any, market: Any, tiny_hub: Any, tiny_spoke: Any, s3_url: str) -> None:
    ws = opened("shop", artifacts=f"{s3_url}/shop/")
    folder = ws.settings.workspace
    ws.hub.train(domains=[], config=tiny_hub)
    launched = ws.launch("lamps", market["lamps"].items, events=market["lamps"].events, config=tiny_spoke)
    held = list(ws.artifacts.digests())
    assert sorted(artifact.digest for artifact in ws.registry.artifacts.list()) == held
    assert (launched.mode, ws.init().artifacts) == ("trained", f"{s3_url}/shop")
    assert ws.doctor(verify=True).exit_code == 0

    def recommend() -> Any:
        where = {"HUBSPOKE_WORKSPACE": str(folder), "HUBSPOKE_ARTIFACTS": f"{s3_url}/shop/"}
        call = ["recommend", "lamps", "--session", "lamps-0001,lamps-0002", "-k", "5", "--json"]
        ended = CliRunner().invoke(cli, call, env=where)
        assert ended.exit_code == 0, ended.output
        return json.loads(ended.stdout)

    first = recommend()
    assert len(first["items"]) == 5 and not (folder / "artifacts").exists()
    assert {path.parts[0] for path in map(Path, RemoteFiles(f"{s3_url}/shop").list())} == {
        "owner.json",
        *(d[:2] for d in held),
    }
    shutil.rmtree(folder / "cache" / "artifacts")  # another machine, whose disk has none of it
    assert recommend() == first
    # Fetched is what the recommendation needs: the index, the hub and the spoke, and the items it names.
    assert 3 <= len(list((folder / "cache" / "artifacts").glob("??/*"))) <= len(held)
