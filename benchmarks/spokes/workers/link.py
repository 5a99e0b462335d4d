"""What a training process and the one that measures it say to each other: a task in a folder, JSON lines, scores.

A worker trains one system, and stops its clock whenever it is asked for scores; it knows no validation target and
ranks nothing. Needs numpy alone, so that it runs in the environment of any library.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

Score = Callable[[Sequence[np.ndarray]], np.ndarray]

SETTINGS = "settings.json"
TRAINING = "training.npz"
HISTORIES = "histories.npz"
SCORES = "scores.npy"
MISSING = 7  # exit status of a worker whose library is not installed
BLOCK = 500


def write_rows(path: Path, rows: Sequence[np.ndarray]) -> None:
    """Ragged rows as one flat array and its offsets."""
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    np.savez(path, items=np.concatenate(rows).astype(np.int64), offsets=offsets)


def read_rows(path: Path) -> list[np.ndarray]:
    """What `write_rows` wrote."""
    with np.load(path) as held:
        return np.split(held["items"], held["offsets"][1:-1])


class Link:
    """A worker's end.

    Attributes:
        settings: shape of the model, seed, threads, epochs and the variant of the library.
        training: item rows of each user's training sequence, oldest first, two events at least.
        histories: item rows of those whose next item will be ranked, none longer than the model looks at.
        folder: for whatever the library wants as files.
    """

    def __init__(self, folder: Path, libraries: Sequence[str]) -> None:
        self.folder = folder
        self.settings: dict[str, Any] = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        self.training = read_rows(folder / TRAINING)
        self.histories = read_rows(folder / HISTORIES)
        # Libraries write to stdout as they like; from here on that is stderr, and what is said goes the old way.
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._versions = {name: version(name) for name in libraries}
        self._made = time.perf_counter()
        self._since = self._cpu_since = 0.0
        self._seconds = self._cpu = 0.0

    def start(self, parameters: int) -> None:
        """Training begins: the clock runs.

        Args:
            parameters: that are trained.
        """
        setup = time.perf_counter() - self._made
        self._say(event="start", parameters=parameters, setup_seconds=round(setup, 2), versions=self._versions)
        self._run()

    def validated(self, epoch: int, score: Score) -> bool:
        """Let the weights be judged while the clock stands still; whether to go on.

        Args:
            epoch: epochs done.
            score: histories to (B, N) scores of all items; -inf for one that the system does not know.
        """
        self._seconds += time.perf_counter() - self._since
        self._cpu += time.process_time() - self._cpu_since
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        shape = (len(self.histories), self.settings["n_items"])
        scores = np.lib.format.open_memmap(self.folder / SCORES, mode="w+", dtype=np.float32, shape=shape)
        for start in range(0, len(self.histories), BLOCK):
            scores[start : start + BLOCK] = score(self.histories[start : start + BLOCK])
        scores.flush()
        del scores
        spent = {"seconds": round(self._seconds, 6), "cpu_seconds": round(self._cpu, 6)}
        self._say(event="scores", epoch=epoch, peak_mib=round(peak), **spent)
        reply = sys.stdin.readline().strip()
        self._run()
        return reply == "go"

    def close(self) -> None:
        """Nothing more is said."""
        self._out.close()

    def _run(self) -> None:
        self._since, self._cpu_since = time.perf_counter(), time.process_time()

    def _say(self, **message: Any) -> None:
        self._out.write(json.dumps(message) + "\n")
        self._out.flush()


def main(train: Callable[[Link], None], libraries: Sequence[str]) -> None:
    """Run a worker on the folder named on the command line; without its library it ends with `MISSING`.

    Args:
        train: trains on what the link holds, and asks it after each epoch.
        libraries: distributions whose versions are reported.
    """
    try:
        import torch

        with closing(Link(Path(sys.argv[1]), libraries)) as link:
            torch.set_num_threads(link.settings["threads"])
            train(link)
    except ModuleNotFoundError as error:
        print(error, file=sys.stderr)
        sys.exit(MISSING)
