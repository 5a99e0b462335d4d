"""The public benchmark script: it reads both kinds of file, stops in time, and reports what it says it reports."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hubspoke.errors import InvalidDataError, NotFoundError, UsageError
from hubspoke.evaluation.evaluate import evaluate
from hubspoke.evaluation.protocols import Protocol, leave_one_out
from hubspoke.spokes.regimes import Regime
from hubspoke.spokes.training.validation import Validation

from benchmarks.spokes import ids, public

TINY = ("--set", "transformer.dimension=8", "--set", "training.validate_every=2", "--device", "cpu", "--quiet")
Run = Callable[..., tuple[dict, str]]


@pytest.fixture
def run(circle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    threads = torch.get_num_threads()

    def go(*options: str) -> tuple[dict, str]:
        out = tmp_path / "report.json"
        public.main(["--file", str(circle), "--out", str(out), *TINY, *options])
        return json.loads(out.read_text(encoding="utf-8")), capsys.readouterr().out

    yield go
    torch.set_num_threads(threads)


def test_both_kinds_of_file_say_the_same_and_one_without_items_is_refused(tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_text("7 30 2 30\n8 10\n", encoding="utf-8")
    with gzip.open(tmp_path / "events.txt.gz", "wt") as file:
        file.write("7 30\n8 10\n7 2\n7 30\n")
    for name in ("users.txt", "events.txt.gz"):
        found = ids.read_sequences(tmp_path / name)
        # Item 2 is the first row, 10 the second, 30 the third: by number, not by letter.
        assert [own.tolist() for own in found] == [[2, 0, 2], [1]]
        assert (found.user_ids, found.n_items) == (("7", "8"), 3)
    (tmp_path / "bad.txt").write_text("7 1 2\n8\n", encoding="utf-8")
    with pytest.raises(InvalidDataError, match="without an item"):
        ids.read_sequences(tmp_path / "bad.txt")
    with pytest.raises(NotFoundError, match="check the path"):
        ids.read_sequences(tmp_path / "none.txt")


def test_settings_are_merged_key_by_key(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("transformer: {dimension: 8, heads: 1}\nid_dropout: 0.5\n", encoding="utf-8")
    given = {"transformer": {"max_length": 9}, "model": "bert4rec"}
    config = ids.ids_config(str(tmp_path / "c.yaml"), ["transformer.heads=4"], **given)
    shape = config.transformer
    assert (shape.dimension, shape.heads, shape.max_length) == (8, 4, 9)
    assert (config.model, config.id_dropout, config.min_item_count, config.content) == ("bert4rec", 0.5, 1, ())
    wide = Regime("wide", {"transformer": {"dimension": 128, "blocks": 2}})
    shape = ids.ids_config(None, ["transformer.dimension=16"], wide).transformer
    assert (shape.dimension, shape.blocks) == (16, 2)  # what is said wins, what is left open comes from the regime
    with pytest.raises(UsageError, match="Extra inputs"):
        ids.ids_config(None, ["transformer.width=3"])


def test_the_measure_in_blocks_is_the_measure(circle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users = leave_one_out(ids.read_sequences(circle), "validation")
    scores = np.random.default_rng(1).random((len(users), users.n_items)).astype(np.float32)
    rows = {history.items.tobytes(): row for row, history in enumerate(users.histories)}

    def score(histories: list) -> np.ndarray:
        return scores[[rows[history.items.tobytes()] for history in histories]]

    whole = Validation(users, filter_seen=True)
    monkeypatch.setattr(ids, "BLOCK", 7)
    expected = whole.ndcg(score(whole.histories), True).mean()
    assert ids.ndcg(score, users, filter_seen=True) == pytest.approx(float(expected), abs=1e-7)
    reported = evaluate(score, leave_one_out(ids.read_sequences(circle), "validation", Protocol(exclude_seen=True)))
    assert ids.ndcg(score, users, filter_seen=True) == pytest.approx(reported.mean("ndcg@10"), abs=1e-7)


def test_the_report_holds_both_stages_and_both_policies(run: Run) -> None:
    report, text = run("--set", "training.max_epochs=30", "--refit", "--seeds", "0,1")
    assert [one["seed"] for one in report["runs"]] == [0, 1]
    for one in report["runs"]:
        assert set(one["results"]) == set(public.STAGES)
        assert set(one["results"]["chosen"]) == set(public.POLICIES.values())
        refitted = one["results"]["refitted"]["seen items excluded"]
        assert refitted["protocol"]["refit"] and refitted["protocol"]["exclude_seen"]
        assert refitted["metrics"]["all"]["hr@10"] > 0.7  # 0.45 by chance
        assert [point["epoch"] for point in one["curve"]] == list(range(2, 31, 2))[: len(one["curve"])]
        best = max(one["curve"], key=lambda point: point["score"])
        assert (one["epochs"]["best"], one["validation"]) == (best["epoch"], best["score"])
        # The training ended long before the first mark, so all marks speak of the chosen checkpoint.
        tested = one["results"]["chosen"]["seen items excluded"]["metrics"]["all"]["ndcg@10"]
        assert [row["test"] for row in one["time_to_quality"]] == [pytest.approx(tested, abs=1e-6)] * 3
    lines = text.splitlines()
    assert sum("refitted on all but test |" in line for line in lines) == 2 * 3  # two seeds and their mean, twice
    assert sum(line.startswith("- seed 1: 2, ") for line in lines) == 1


def test_bert4rec_without_content_trains_and_a_budget_ends_it_with_what_is_there(run: Run) -> None:
    endless = ("--set", "training.max_epochs=500", "--set", "training.validate_every=100", "--budget-seconds", "0")
    report, text = run("--model", "bert4rec", "--max-length", "6", *endless)
    (one,) = report["runs"]
    assert (one["config"]["model"], one["config"]["transformer"]["max_length"]) == ("bert4rec", 6)
    assert "history <= 6" in text and "- bert4rec, dimension 8, 1 block(s)" in text
    assert (one["epochs"], [point["epoch"] for point in one["curve"]]) == ({"run": 1, "best": 1}, [1])


def test_a_mark_keeps_what_was_best_when_it_passed() -> None:
    moments, scores = iter([0, 10, 10, 40, 40, 80, 80, 90]), iter([0.2, 0.1, 0.5])
    model = torch.nn.Linear(1, 1)
    watch = public.Watch(model, lambda _: next(scores), None, (5, 60, 100), lambda _: None, lambda: next(moments))
    for epoch in (1, 2, 3):
        watch.epochs = epoch
        watch.validate(model)
    watch.end()
    assert watch.at[5] is None  # nothing was there yet
    assert (watch.at[60].epoch, watch.at[60].score) == (1, 0.2)
    assert (watch.at[100].epoch, watch.at[100].score) == (3, 0.5)
    assert watch.ended == 90


def test_what_cannot_run_says_so_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        public.main(["--file", str(tmp_path / "none.txt"), "--out", str(tmp_path / "r.json")])
    assert ended.value.code == 5
    assert "Error: There is no file" in capsys.readouterr().err
