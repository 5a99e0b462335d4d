"""The comparison with other libraries: one evaluator judges all, a missing library is skipped, a bound is kept."""

import importlib.util
import io
import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import hubspoke
import numpy as np
import pytest
from hubspoke.evaluation.evaluate import evaluate
from hubspoke.evaluation.protocols import Protocol, leave_one_out

from benchmarks.spokes import ids, peers
from benchmarks.spokes.workers import link

NAMES = {"rectools": "rectools", "replay": "replay-rec", "recbole": "recbole"}


def judge(circle: Path, **bounds: float | None) -> peers.Judge:
    checked = ids.validation_users(ids.read_sequences(circle), 50, 1000)
    return peers.Judge(checked, **{"epochs": 10, "budget": None, "patience": 3, **bounds})


def test_scores_from_a_file_are_ranked_as_the_package_ranks(circle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "BLOCK", 9)
    held = judge(circle)
    users = held.checked.users
    scores = np.random.default_rng(2).random((len(users), users.n_items)).astype(np.float32)
    assert held.judge(scores, 1, 0.5)
    given = leave_one_out(ids.read_sequences(circle), "validation", Protocol(exclude_seen=True))
    expected = evaluate(lambda histories: scores[: len(histories)], given, batch_size=len(users))
    assert held.curve == [{"epoch": 1, "seconds": 0.5, "score": pytest.approx(expected.mean("ndcg@10"), abs=1e-7)}]


def test_a_training_ends_at_its_bounds(circle: Path) -> None:
    rng = np.random.default_rng(3)

    def scores(held: peers.Judge) -> np.ndarray:
        return rng.random((len(held.checked.users), held.checked.users.n_items)).astype(np.float32)

    for held in (judge(circle, epochs=2), judge(circle, budget=1.5)):
        assert [held.judge(scores(held), epoch, epoch) for epoch in (1, 2)] == [True, False]
    held = judge(circle, patience=2)
    worst = -scores(held) * 0
    assert [held.judge(worst, epoch, epoch) for epoch in (1, 2, 3)] == [True, True, False]


def test_the_first_users_keep_only_their_items(tmp_path: Path) -> None:
    (tmp_path / "f.txt").write_text("a 5 9\nb 7 7\nc 1 5\n", encoding="utf-8")
    found = peers.some_users(ids.read_sequences(tmp_path / "f.txt"), 2)
    assert [row.tolist() for row in found] == [[0, 2], [1, 1]]
    assert (found.n_items, found.user_ids) == (3, ("a", "b"))
    # Rows travel to a worker as they are.
    rows = [np.array([3, 1]), np.array([], np.int64), np.array([2])]
    link.write_rows(tmp_path / "rows.npz", rows)
    assert [row.tolist() for row in link.read_rows(tmp_path / "rows.npz")] == [[3, 1], [], [2]]


def test_the_clock_of_a_worker_stands_still_while_it_scores(tmp_path: Path, monkeypatch, capfd) -> None:
    rows = [np.array([0, 1]), np.array([1, 0])]
    (tmp_path / link.SETTINGS).write_text('{"n_items": 2}', encoding="utf-8")
    for name in (link.TRAINING, link.HISTORIES):
        link.write_rows(tmp_path / name, rows)
    now = 100.0
    # A processor that is half as busy as the clock.
    clock = SimpleNamespace(perf_counter=lambda: now, process_time=lambda: now / 2)
    monkeypatch.setattr(link, "time", clock)
    monkeypatch.setattr(sys, "stdin", io.StringIO("go\nstop\n"))

    def score(histories: Sequence[np.ndarray]) -> np.ndarray:
        nonlocal now
        now += 1_000.0
        return np.zeros((len(histories), 2), np.float32)

    with closing(link.Link(tmp_path, ("numpy",))) as worker:
        now += 7.0
        worker.start(12)
        now += 0.004
        assert worker.validated(1, score)
        now += 2.0
        assert not worker.validated(2, score)
    start, *told = map(json.loads, capfd.readouterr().out.splitlines())
    assert (start["event"], start["parameters"], start["setup_seconds"]) == ("start", 12, 7.0)
    points = [(point["epoch"], point["seconds"], point["cpu_seconds"]) for point in told]
    assert points == [(1, 0.004, 0.002), (2, 2.004, 1.002)]


@pytest.mark.slow
def test_this_package_trains_in_its_own_process_and_a_missing_library_is_skipped(circle: Path, tmp_path, capfd) -> None:
    missing = next((name for name in NAMES if importlib.util.find_spec(name) is None), None)
    out = tmp_path / "r.json"
    options = [
        "--systems",
        ",".join(filter(None, ("hubspoke", missing))),
        "--epochs",
        "3",
        "--refit",
        "--dimension",
        "8",
    ]
    options += ["--negatives", "8", "--threads", "1", "--learning-rate", "0.02"]
    peers.main(["--file", str(circle), "--out", str(out), *options])
    told, report = capfd.readouterr().out, json.loads(out.read_text(encoding="utf-8"))
    own = report["systems"]["hubspoke"]
    assert [point["epoch"] for point in own["curve"]] == [1, 2, 3]
    assert own["sequences_per_second"] == pytest.approx(80 * 3 / own["curve"][-1]["seconds"], rel=1e-3)
    # Where processor time is counted in ticks, epochs of this size may have none.
    assert own["peak_mib"] > 0 <= own["cpu_seconds_an_epoch"] and set(own["versions"]) == {"hubspoke", "torch"}
    if missing:
        assert list(report["systems"]) == ["hubspoke"]
        assert report["skipped"] == [f"{missing} (No package metadata was found for {NAMES[missing]})"]
        assert f"- Skipped: {missing} (No" in told
    assert "| hubspoke | sampled softmax, shared negatives |" in told
    # The test is ranked with the best weights before and after a refit.
    best = max(own["curve"], key=lambda point: point["score"])["epoch"]
    chosen, refitted = own["test"]["chosen"], own["test"]["refitted"]
    assert (chosen["epoch"], refitted["epoch"]) == (best, best)
    assert chosen["protocol"]["refit"] is False and refitted["protocol"]["refit"] is True
    # Chance is ten of thirty items.
    assert min(chosen["metrics"]["all"]["hr@10"], refitted["metrics"]["all"]["hr@10"]) > 0.5
    assert f"| hubspoke | refitted on all but test | {best} | {refitted['metrics']['all']['hr@10']:.4f} [" in told


def test_a_worker_that_fails_is_told_of(circle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(peers.SYSTEMS, "broken", peers.System("none_such", "", ""))
    arguments = Namespace(python={"broken": sys.executable}, threads=1, quiet=True)
    with pytest.raises(hubspoke.HubspokeError, match=r"The training of broken ended with status 1 \(.*none_such"):
        peers.train("broken", arguments, {}, [np.array([1, 2])], judge(circle))


def test_the_table_says_when_each_reached_what_all_reached() -> None:
    def system(points: list[tuple[float, float]]) -> dict:
        curve = [{"epoch": i, "seconds": s, "score": q} for i, (s, q) in enumerate(points, 1)]
        measured = {"sequences_per_second": 5.0, "parameters": 1000, "cpu_seconds_an_epoch": 1.5}
        return {"loss": "x", "curve": curve, "versions": {"torch": "2"}, **measured}

    points = {"hubspoke": [(1, 0.1), (2, 0.3)], "slow": [(50, 0.05), (90, 0.2)], "poor": [(7, 0.1)]}
    systems = {name: system(own) for name, own in points.items()}
    assert peers.targets(systems, []) == [0.1, 0.2]  # what all reached, and the best of the others
    assert peers.targets(systems, [0.25]) == [0.25]
    assert peers.seconds_to(systems["slow"]["curve"], 0.1) == 90
    shape = {"dimension": 8, "blocks": 1, "heads": 1, "dropout": 0.2}
    settings = {"shape": shape, "max_length": 50, "negatives": 9, "batch": 128}
    settings |= {"learning_rate": 1e-3, "seed": 0, "threads": 2}
    counted = ("users", "items", "training_sequences", "training_events", "validation_users")
    data = dict.fromkeys(counted, 1) | {"filters_seen": True}
    report = {"file": "f.txt", "date": "2026-01-01", "systems": systems, "skipped": [], "settings": settings}
    report |= {"machine": {"cpu": "c", "memory_gib": 1}, "data": data}
    lines = peers.markdown(report).splitlines()
    assert "seconds to 0.1000 | seconds to 0.2000" in lines[0]
    assert lines[4] == "| poor | x | 5 | 1.5 | 0.1000 | 7.0 | not reached |  | 1,000 |"
    assert "- slow: 1, 50 s: 0.0500 · 2, 90 s: 0.2000" in lines
