"""A hub trained by two processes: what torchrun starts ends as one process would, and a killed one goes on."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hubspoke.workflows.workspace import Workspace, open_workspace

pytestmark = pytest.mark.slow

TRAINING = {"steps": 12, "batch_size": 8, "learning_rate": 0.02, "rank": 4, "text_layers": 1, "interpolations": [1.0]}
CONFIG: dict[str, Any] = {
    "text": {"name": "tiny"},
    "image": None,
    "contrastive": {"steps": 0},
    "reading": {"sessions": 0},
    "encoders": {**TRAINING, "nearest_share": 1.0, "objectives": ["info_nce", "views"]},
}
# Runs a command whose process is killed when the fifth step of its second training has been stored.
KILLED = """
import os, signal, sys
from hubspoke.cli import cli
from hubspoke.hub.training.encoders import EncoderTraining
from hubspoke.workflows.hub_stages import encoders
encoders.CHECKPOINT_STEPS = 5
step, trainings = EncoderTraining.step, []
def killed(self):
    trainings.append(self) if self not in trainings else None
    if len(trainings) == 2 and len(self.losses) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    step(self)
EncoderTraining.step = killed
cli.main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, market: Any) -> Path:
    """Two workspaces with the same categories, `one` and `two`, and the config."""
    made = tmp_path_factory.mktemp("hubs")
    (made / "hub.json").write_text(json.dumps(CONFIG))
    for name in ("one", "two"):
        with open_workspace(environ={}, workspace=made / name, create=True) as ws:
            for category, files in market.items():
                ws.domain.add(category, files.items, files.events)
    return made


def command(folder: Path, workspace: str, *more: str) -> list[str]:
    where = ["--config", str(folder / "hub.json"), "--workspace", str(folder / workspace), "--json", "--quiet"]
    return ["hub", "train", *where, *more]


@pytest.fixture
def both(folder: Path) -> Iterator[tuple[Workspace, Workspace]]:
    with (
        open_workspace(environ={}, workspace=folder / "one") as one,
        open_workspace(environ={}, workspace=folder / "two") as two,
    ):
        yield one, two


def test_torchrun_trains_the_hub_that_one_process_trains(folder: Path, both: Any) -> None:
    one, two = both
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    program = ["-m", "hubspoke.cli", *command(folder, "two")]
    shared = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run([*launcher, *program], env=shared, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)  # one process has spoken, and once
    assert (told["ref"], told["summary"]["processes"]) == ("hub:1", 2)
    alone = one.hub.train(config=CONFIG)
    assert "processes" not in alone.summary
    first, second = one.hub.show(), two.hub.show()
    assert first.fingerprint == second.fingerprint  # the same recipe, so that either is found again by the other
    for ours, theirs in zip(first.summary["table"], second.summary["table"], strict=True):
        assert ours["held_out"] == theirs["held_out"] and ours["ndcg@10"] == pytest.approx(theirs["ndcg@10"], abs=1e-3)
    assert all(row["difference"] for row in first.summary["table"] if row["share"])  # the training changed something
    assert first.summary["kept_encoders"] == second.summary["kept_encoders"]


def test_a_killed_training_of_a_hub_goes_on(folder: Path, both: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = both
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, *command(folder, "two", "--set", "seed=3")], capture_output=True, check=False
    )
    assert ended.returncode == -9, ended.stderr
    (kept,) = (folder / "two" / "cache" / "training").iterdir()
    assert sorted(path.name for own in kept.iterdir() for path in own.iterdir()) == ["epoch-000005", "epoch-000012"]
    repeated = [sys.executable, "-m", "hubspoke.cli", *command(folder, "two", "--set", "seed=3")]
    again = subprocess.run(repeated, capture_output=True, check=True)
    told, whole = json.loads(again.stdout), one.hub.train(config={**CONFIG, "seed": 3})
    assert told["table"] == list(whole.table)
    assert not kept.exists()
