"""Trainings by two processes: what torchrun starts ends as one process would, and what stops it stops both."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from hubspoke.workflows.loading import load_spoke
from hubspoke.workflows.workspace import Workspace, open_workspace

Pair: TypeAlias = Callable[..., list[tuple[int, str, str]]]
# Dropout is drawn in each process for its own share, so that only without it two make what one makes.
CONFIG: dict[str, Any] = {"transformer": {"dimension": 16, "dropout": 0.0}, "id_dropout": 0.0, "seed": 1}
# Runs a command whose process number sys.argv[1] is killed when its second epoch begins.
KILLED = """
import os, signal, sys
from hubspoke.cli import cli
from hubspoke.spokes.training.objective import Objective
start = Objective.start
def killed(self, number):
    if number == 1 and os.environ["RANK"] == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)
    start(self, number)
Objective.start = killed
cli.main(sys.argv[2:])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shop_template: Path, tiny_spoke: Any) -> Path:
    """Two copies of the shop, `one` and `two`, and the config."""
    made = tmp_path_factory.mktemp("team")
    for name in ("one", "two"):
        shutil.copytree(shop_template, made / name)
    own = {name: tiny_spoke[name] for name in ("min_item_count", "training")}
    (made / "spoke.json").write_text(json.dumps(CONFIG | own))
    return made


def command(folder: Path, *more: str) -> list[str]:
    where = ["--config", str(folder / "spoke.json"), "--workspace", str(folder / "two")]
    return ["spoke", "train", "lamps", *where, *more]


@pytest.fixture(scope="module")
def trained(folder: Path) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    program = ["-m", "hubspoke.cli", *command(folder, "--refit", "--json", "--quiet")]
    shared = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([*launcher, *program], env=shared, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture
def two(folder: Path) -> Iterator[Workspace]:
    with open_workspace(environ={}, workspace=folder / "two") as opened:
        yield opened


def test_torchrun_trains_what_one_process_trains(trained: Any, folder: Path, two: Workspace) -> None:
    assert trained.returncode == 0, trained.stderr
    told = json.loads(trained.stdout)  # one process has spoken, and once
    assert (told["ref"], told["index"], told["summary"]["processes"]) == ("lamps:2", "index:lamps/2", 2)
    assert {model.ref: model.status for model in two.spoke.list("lamps")} == {"lamps:1": "ready", "lamps:2": "ready"}
    assert two.index.check("index:lamps/2").ok
    config = json.loads((folder / "spoke.json").read_text())
    with open_workspace(environ={}, workspace=folder / "one") as one:
        alone = one.spoke.show(str(one.spoke.train("lamps", config=config, refit=True, index=False).ref))
        theirs = weights(one, "lamps:2")
    ours = weights(two, "lamps:2")
    record = two.spoke.show("lamps:2")
    # The same recipe, so that either is found again by the other; the same choice; the same weights up to rounding.
    assert record.fingerprint == alone.fingerprint
    for key in ("epochs", "training_events", "items_with_id", "held_out", "mixture"):
        assert record.summary[key] == alone.summary[key]
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        if not name.endswith("query_key_value.bias"):  # the bias of the keys has no gradient but rounding
            np.testing.assert_allclose(weight, theirs[name], atol=1e-4)


def weights(ws: Workspace, ref: str) -> dict[str, np.ndarray]:
    behaviour = load_spoke(ws, ws.spoke.show(ref))[0].behaviour
    return {name: weight.numpy() for name, weight in behaviour.model.state_dict().items()}


@pytest.mark.slow
def test_what_is_known_or_refused_is_told_once(trained: object, folder: Path, two_processes: Pair) -> None:
    known = command(folder, "--refit", "--json", "--quiet", "--no-index")
    (first, told, _), (second, nothing, silent) = two_processes(["-m", "hubspoke.cli", *known])
    assert (first, second, nothing, silent, json.loads(told)["cached"]) == (0, 0, "", "", True)
    wrong = command(folder, "--set", "layers=3")
    (first, _, told), (second, nothing, silent) = two_processes(["-m", "hubspoke.cli", *wrong])
    assert first == 2 and second != 0
    assert "layers" in told and (nothing, silent) == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_dies_takes_the_other(folder: Path, two: Workspace, two_processes: Pair, victim: int) -> None:
    more = ("--quiet", "--no-index", "--set", f"seed={20 + victim}")
    ended = two_processes(["-c", KILLED, str(victim), *command(folder, *more)])
    assert ended[victim][0] == -9 and ended[1 - victim][0] == 1
    newest = two.spoke.list("lamps")[-1]
    if victim:
        assert "Another process of this training is gone or stuck" in ended[0][2]
        assert newest.status == "failed" and "Another process" in str(newest.error)
    else:
        assert "Error" not in ended[1][2]
        assert newest.status == "training"  # as after any kill: the repeated command takes it over
