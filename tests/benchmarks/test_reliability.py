"""The benchmark of faults judges ends of commands as the contract says, and its forked commands are commands."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import fuzz, reliability
from benchmarks.faults import warm
from benchmarks.faults.full_disk import fill
from benchmarks.faults.shop import Counts, Shop


@pytest.mark.parametrize(
    ("code", "out", "err", "fault"),
    [
        (0, "{}", "", None),
        (8, "", "Error: Another process holds it; wait for it to end.\n", None),
        (1, "", "Error: It failed; repeat the command.\n", "wrong exit code"),
        (-6, "", "Fatal Python error\n", "wrong exit code"),
        (8, "", "", "no sentence"),
        (8, "", "Error: a.\nError: b.\n", "no sentence"),
        (8, "", "Traceback (most recent call last):\nError: a.\n", "raw traceback"),
        (8, "", "Error: KeyError: 'a'; --debug shows the traceback.\n", "raw traceback"),
    ],
)
def test_an_end_is_judged_by_the_contract(code: int, out: str, err: str, fault: str | None) -> None:
    assert warm.Ended(("promote",), code, out, err, 0.1).fault(8) == fault


def test_what_several_processes_counted_is_summed(capsys) -> None:
    one, other = Counts(), Counts()
    one.end(warm.Ended(("gc",), 0, "", "", 0.1))
    one.end(warm.Ended(("gc",), -9, "", "", 0.1))
    other.end(warm.Ended(("gc",), 8, "", "Error: Held.\n", 0.1), 8)
    other.read(warm.Ended(("history",), 5, "", "Error: There is none.\n", 0.1))
    other.check(False, "version 3 is gone")
    one.add(other)
    found = one.to_json()
    assert [found[k] for k in ("attempts", "acknowledged", "refused", "killed", "reads")] == [3, 1, 1, 1, 1]
    assert (found["lost"], found["wrong exit code"], found["half-written"]) == (1, 1, 0)
    assert found["examples"] == ["version 3 is gone", "hubspoke history -> 5 Error: There is none."]
    report = {"rows": [{"part": "kills", "database": "sqlite", "what": "gc", **found}], **reliability.about()}
    size = {"writers": 8, "commands": 1, "kills": 1, "points": 1, "stops": 1, "seed": 0, "tmpfs_mb": 64}
    shown = reliability.markdown({**report, "protocol": size, "minutes": 1.0})
    assert "| kills | sqlite | gc | 3 | 1 | 1 | 1 | 1 | 1 | 0 | 1 | 0 | 0 |" in shown


def test_a_forked_command_is_the_command_line(tmp_path: Path) -> None:
    ended = warm.run("domain", "list", folder=tmp_path, environment={"HUBSPOKE_WORKSPACE": "here"})
    assert (ended.code, ended.fault(5)) == (5, None) and str(tmp_path / "here") in ended.err
    assert warm.start("domain", "list", folder=tmp_path).kill(0).code in (-9, 5)


def lose_a_snapshot(folder: Path, template: Path) -> tuple[list[str], list[str]]:
    """What a sound shop is told of, and what is told to be lost of one that has lost something."""
    (folder / ".hubspoke" / "artifacts").mkdir(parents=True)
    (folder / ".hubspoke" / "registry.db").write_bytes(template.read_bytes())
    shop, counts = Shop(folder), Counts()
    (folder / "files").mkdir()
    shop.must("domain", "add", "garden", "--items", shop.items("items"), "--quiet")
    shop.is_sound(counts, "at first")
    shop.has_no_gaps(counts)
    shop.leaves_nothing(counts)
    sound = counts.to_json()["examples"]
    with sqlite3.connect(folder / ".hubspoke" / "registry.db") as database:
        database.execute("UPDATE nodes SET ref = 'snapshot:garden/items/3' WHERE ref = 'snapshot:garden/items/1'")
    shop.has_no_gaps(counts)
    return sound, counts.faults["lost"]


def test_what_is_acknowledged_and_gone_is_found(tmp_path: Path, sqlite_template: Path) -> None:
    # Commands are forked from a process that has read no tables, which other tests here have.
    call = f"lose_a_snapshot(Path({str(tmp_path)!r}), Path({str(sqlite_template)!r}))"
    code = f"from {__name__} import lose_a_snapshot; print(json.dumps({call}))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", f"import json; from pathlib import Path; {code}"]
    ended = subprocess.run(
        command, capture_output=True, text=True, env=environment, start_new_session=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    sound, lost = json.loads(ended.stdout.splitlines()[-1])
    assert (sound, lost) == ([], ["versions of snapshot:garden/items/ are [3]"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_disk_is_filled_to_the_byte(tmp_path: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], check=False)
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        fill(tmp_path, 8192)
        (tmp_path / "fits").write_bytes(bytes(8192))
        with pytest.raises(OSError, match="No space left"):
            (tmp_path / "more").write_bytes(bytes(4096))
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def test_a_round_of_fuzzing_counts_what_held(monkeypatch) -> None:
    counted = "    - 7 passing, 0 failing, and 0 invalid test cases"
    said = "\n".join(["tests/fuzz/test_x.py::test_a:", "", "  - during generate phase (0.1 seconds):", counted])
    monkeypatch.setattr(fuzz.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess(sys.argv, 0, said, ""))
    assert fuzz.round_of(0, 7, "") == ({"test_a": 7}, [])
