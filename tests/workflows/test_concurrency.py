"""Real processes that move one alias, or train one domain, at once, each stopped at a place: one wins, one is told."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hubspoke.errors import LockedError
from hubspoke.workflows.workspace import Workspace
from sqlalchemy import text

DRIVER = Path(__file__).with_name("stop_at.py").read_text(encoding="utf-8")
# A training that only waits: nothing of it needs torch.
TRAINER = """
import sys
from hubspoke.registry.records import Parent
from hubspoke.workflows import spoke_training
from hubspoke.workflows.models import Trained

def train(context, plan, world):
    print("HERE", file=sys.__stdout__, flush=True)
    sys.stdin.read()
    parents = [Parent(plan.job.hub, "adapted_from"), Parent(plan.dataset.event_snapshot.ref, "trained_on", "events")]
    return Trained(lambda folder: (folder / "weights").write_text("w"), "s", {}, parents)

spoke_training._train = train
sys.argv = ["hubspoke", *sys.argv[1:]]
from hubspoke.cli import main
main()
"""
# Promotes `moves` times to a release that is not live, beginning again whenever another process was faster.
MOVER = """
import random, sys
from hubspoke.errors import LockedError
from hubspoke.registry.store import Registry
from hubspoke.registry.stores.aliases import Seen
url, name, moves, *targets = sys.argv[1:]
choose = random.Random(name).choice
with Registry(url) as registry:
    print("HERE", flush=True)
    sys.stdin.read()
    told = 0
    for _ in range(int(moves)):
        while True:
            seen = registry.resolve("garden@live").ref
            target = choose([ref for ref in targets if ref != seen])
            try:
                registry.aliases.promote("garden", "live", target, name, seen=Seen(seen))
                break
            except LockedError:
                told += 1
    print(told)
"""
MOVING = "hubspoke.registry.stores.aliases:AliasStore.promote"
ROLLING = "hubspoke.registry.stores.aliases:AliasStore.rollback"
INSIDE = "hubspoke.registry.stores.aliases:_move"
Process = subprocess.Popen[str]
Start = Callable[..., list[Process]]


@pytest.fixture
def garden(each_ws: Workspace, files: Any) -> Workspace:
    """The domain garden, on each of the two databases."""
    each_ws.domain.add("garden", files.items, files.events)
    return each_ws


@pytest.fixture
def three(garden: Workspace, models: Any) -> Workspace:
    """garden:1 was live, garden:2 is, garden:3 has an index and no release."""
    models.hub()
    for _ in range(3):
        models.index(models.spoke("hub:1").ref)
    garden.promote("garden:1")
    garden.promote("garden:2")
    return garden


def where(ws: Workspace) -> tuple[str, ...]:
    """The options that lead a command to this workspace."""
    return ("--registry", ws.shown_url, "--workspace", str(ws.settings.workspace))


def finish(*processes: Process) -> list[tuple[int, str]]:
    """Let stopped processes go on together; each one's exit code and what it wrote on stderr."""
    for process in processes:
        process.stdin.close()
        process.stdin = None  # communicate would flush it
    errors = [process.communicate()[1] for process in processes]
    return [(process.returncode, error) for process, error in zip(processes, errors, strict=True)]


def state(ws: Workspace) -> tuple[Any, ...]:
    """Where the alias points, every move, and every release."""
    moves = [(m.action, m.from_ref, m.to_ref, m.overridden) for m in ws.history("garden")]
    return ws.registry.aliases.list("garden"), moves, [r.ref for r in ws.registry.releases.list()]


def check_chain(ws: Workspace) -> None:
    """Each move starts where the one before it ended, and the alias stands where the last one ended."""
    moves = ws.history("garden")
    assert [m.from_ref for m in moves] == [None, *(m.to_ref for m in moves[:-1])]
    assert all(before.at <= after.at for before, after in pairwise(moves))
    assert ws.registry.resolve("garden@live").ref == moves[-1].to_ref


TOLD = re.compile(".*since another process moved it.*\n")


def test_of_two_promotes_at_once_one_wins_and_the_other_is_told(three: Workspace, stopped_all: Start) -> None:
    refs = ("garden:1", "garden:3")
    calls = [(MOVING, "1", "promote", ref, "--reason", ref, "--quiet", *where(three)) for ref in refs]
    processes = stopped_all(DRIVER, *calls)
    assert len(three.history("garden")) == 2
    outcomes = finish(*processes)
    assert sorted(code for code, _ in outcomes) == [0, 8]
    winner = refs[[code for code, _ in outcomes].index(0)]
    assert TOLD.fullmatch(next(error for code, error in outcomes if code == 8))
    check_chain(three)
    assert three.registry.releases.get("garden").spoke == winner
    assert [m.reason for m in three.history("garden")] == [None, None, winner]
    # The loser's release, if it was to be made, was not.
    assert len(three.registry.releases.list()) == (2 if winner == "garden:1" else 3)


@pytest.mark.slow
@pytest.mark.parametrize("first", ["promote", "rollback"])
def test_a_promote_during_a_rollback(three: Workspace, stopped_all: Start, first: str) -> None:
    promote = (MOVING, "1", "promote", "garden:3", "--quiet", *where(three))
    rollback = (ROLLING, "1", "rollback", "garden", "--quiet", *where(three))
    early, late = stopped_all(DRIVER, *((promote, rollback) if first == "promote" else (rollback, promote)))
    assert finish(early) == [(0, "")]
    ((code, error),) = finish(late)
    assert code == 8 and TOLD.fullmatch(error)
    check_chain(three)
    last = three.history("garden")[-1]
    assert (last.action, len(three.history("garden"))) == (first, 3)
    assert three.registry.releases.get("garden").spoke == ("garden:3" if first == "promote" else "garden:1")


def test_a_gate_set_between_looking_and_moving_stops_the_move(three: Workspace, stopped_all: Start) -> None:
    (process,) = stopped_all(DRIVER, (MOVING, "1", "promote", "garden:3", "--quiet", *where(three)))
    before = state(three)
    three.gate.set("garden", {"ndcg@10": 0.5})
    ((code, error),) = finish(process)
    assert code == 8 and "The gate of garden has changed since this move was judged" in error
    assert state(three) == before


# Inside, the release is made and the transaction not yet ended.
KILLS = [(MOVING, ("promote", "garden:3")), (INSIDE, ("promote", "garden:3")), (INSIDE, ("rollback", "garden"))]


@pytest.mark.parametrize(("place", "command"), KILLS)
def test_a_kill_before_the_move_changes_nothing(three: Workspace, killed: Any, place: str, command: Any) -> None:
    before = state(three)
    killed(place, 1, *command, "--quiet", *where(three))
    assert state(three) == before
    # Nor does the dead process stand in anybody's way.
    assert three.promote("garden:3").after == "release:garden/3"
    check_chain(three)


def test_many_movers_make_one_chain_without_gaps(three: Workspace, stopped_all: Start) -> None:
    three.promote("garden:3")
    targets = [release.ref for release in three.registry.releases.list()]
    names = ("ann", "bob", "cid")
    movers = stopped_all(MOVER, *((three.shown_url, name, "6", *targets) for name in names))
    assert [code for code, _ in finish(*movers)] == [0] * 3
    check_chain(three)
    moves = three.history("garden")[3:]
    assert sorted(m.actor for m in moves) == sorted(names * 6)


@pytest.mark.slow
def test_of_two_trainings_the_second_is_told(garden: Any, trainable: tuple[str, ...], stopped_all: Start) -> None:
    call = trainable
    (first,) = stopped_all(TRAINER, call)
    # Other settings, so that it is not the same version again: the domain is what is taken.
    program = [sys.executable, "-c", TRAINER, *call, "--set", "seed=7", "--json"]
    second = subprocess.run(program, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    error = json.loads(second.stdout)["error"]
    assert (second.returncode, error["type"]) == (8, LockedError.__name__)
    assert error["message"].startswith(f"Process {first.pid}")
    assert "holds 'train garden'; wait for it to end" in error["message"]
    assert [(m.ref, m.status) for m in garden.spoke.list("garden")] == [("garden:1", "training")]
    assert finish(first) == [(0, "")]
    # The second took no number: the next version is the second one.
    assert garden.registry.models.begin("spoke", "garden", "next", {}).ref == "garden:2"
    assert garden.spoke.show("garden:1").status == "ready"


@pytest.fixture
def trainable(garden: Workspace, models: Any, files: Any) -> tuple[str, ...]:
    """The command that trains garden, which has enough events for it."""
    rows = "".join(f"ann,{item},2024-05-01T10:0{n}:00Z\n" for n, item in enumerate(("rose", "fern", "pot", "spade")))
    garden.data.ingest("garden", events=files.write("more.csv", f"user_id,item_id,timestamp\n{rows}"))
    return ("spoke", "train", "garden", "--hub", models.hub().ref, "--no-index", "--quiet", *where(garden))


@pytest.mark.slow
def test_a_training_whose_lock_was_taken_leaves_the_other_alone(
    garden: Workspace, trainable: tuple[str, ...], stopped_all: Start
) -> None:
    (first,) = stopped_all(TRAINER, trainable)
    if (path := garden.registry.database.path) is not None:
        shutil.rmtree(path.parent / "locks")
        # The kernel knows who has the database's lock also where its file was removed.
        program = [sys.executable, "-c", TRAINER, *trainable]
        second = subprocess.run(program, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        assert (second.returncode, "holds 'train garden'" in second.stderr) == (8, True)
        assert finish(first) == [(0, "")]
        return
    with garden.registry.database.engine.connect() as connection:  # as a server does that starts again
        sessions = "SELECT pid FROM pg_locks WHERE locktype = 'advisory'"
        connection.execute(text(f"SELECT pg_terminate_backend(pid, 5000) FROM ({sessions}) AS locks"))
    (second,) = stopped_all(TRAINER, trainable)
    ((code, error),) = finish(first)
    assert code == 8 and "lost its lock on 'train garden' (the database ended its session), and another" in error
    assert len(error.splitlines()) == 1
    assert [(model.ref, model.status, model.error) for model in garden.spoke.list("garden")] == [
        ("garden:1", "training", None)
    ]
    assert finish(second) == [(0, "")]
    assert garden.spoke.show("garden:1").status == "ready"
