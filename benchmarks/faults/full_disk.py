"""Commands on a disk that is full, or becomes so under way: each ends well or says so, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from .shop import READS, Counts, Shop

FAILED, USAGE = 1, 2
SENTENCE = "No space is left on the disk"
SIZE_MB = 64
Arguments = Callable[[Shop, str], tuple[str, ...]]

COMMANDS: dict[str, Arguments] = {
    "domain add": lambda shop, mark: ("domain", "add", mark, "--items", "files/items.csv"),
    "data ingest": lambda shop, mark: ("data", "ingest", "garden", "--items", shop.items("new", mark)),
    "launch": lambda shop, mark: ("launch", "new", mark, "--catalog", "files/items.csv", "-k", "1"),
    "spoke train": lambda shop, mark: shop.training(str(number_of(mark))),
    "index build": lambda shop, mark: ("index", "build", "garden:2", "--force"),
    "evaluate run": lambda shop, mark: ("evaluate", "run", "--domain", "garden", "--model", "garden:2"),
    "promote": lambda shop, mark: ("promote", f"garden:{1 + number_of(mark) % 2}", "--reason", mark),
    "rules set": lambda shop, mark: ("rules", "set", "garden", "--set", f"fresh_days={number_of(mark)}"),
    "gate set": lambda shop, mark: ("gate", "set", "garden", "--alias", "candidate", "--min", "ndcg@10=0.1"),
    "bundle export": lambda shop, mark: ("bundle", "export", "garden", "--output", f"{mark}.zip"),
    "registry backup": lambda shop, mark: ("registry", "backup", f"{mark}.db"),
    "data export": lambda shop, mark: ("data", "export", "garden", "--output", f"{mark}_out"),
    "gc": lambda shop, mark: ("gc", "--yes", "--older-than", "0"),
}


def number_of(mark: str) -> int:
    """A number of its own for each mark."""
    return 1000 + int(mark.rpartition("_")[2])


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of its own that is soon full: a tmpfs, which takes the right to mount."""
    folder.mkdir(parents=True)
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mount.returncode:
        raise PermissionError(f"no tmpfs can be mounted here ({mount.stderr.strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def fill(disk: Path, free: int) -> None:
    """Leave so many bytes free."""
    ballast = disk / "ballast"
    ballast.unlink(missing_ok=True)
    room = shutil.disk_usage(disk).free - free
    with ballast.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, max(1, room))


def full_disk(shop: Shop, disk: Path, seed: int, points: int = 8) -> Iterator[tuple[str, Counts]]:
    """The part: each command with so many amounts of room, from none to a little more than it takes."""
    number = 0
    for name, arguments in COMMANDS.items():
        counts, draw = Counts(), Random(f"{seed} {name}")
        before = shutil.disk_usage(disk).used
        counts.end(shop.run(*arguments(shop, f"room_{number}"), "--json", "--quiet"))
        taken = shutil.disk_usage(disk).used - before
        for point in range(points):
            number += 1
            # Half of the amounts near nothing, where the registry's own pages no longer fit.
            most = max(taken, 256 << 10) * 1.2
            free = 0 if point == 0 else int(draw.uniform(0, most if point % 2 else 64 << 10))
            _try(shop, disk, (*arguments(shop, f"full_{number}"), "--json", "--quiet"), free, counts)
        shop.is_sound(counts, f"after {name} on a full disk")
        shop.leaves_nothing(counts)
        shop.has_no_gaps(counts)
        yield name, counts
        print(f"{name}: {counts.refused} of {points} refused, takes {taken:,} bytes", file=sys.stderr, flush=True)


def _try(shop: Shop, disk: Path, arguments: tuple[str, ...], free: int, counts: Counts) -> None:
    """One command with so much room: while it is full, and after some was made."""
    served = shop.answer()
    fill(disk, free)
    ended = counts.end(shop.run(*arguments), FAILED)
    if not ended.done:
        counts.check(SENTENCE in ended.err, f"{free} bytes free: {ended}", "no sentence")
    for question in READS:
        counts.read(shop.run(*question))
    (disk / "ballast").unlink()
    again = counts.end(shop.run(*arguments), *([USAGE] if ended.done else []))  # a file is there already
    counts.check(again.done or ended.done, f"with room again: {again}", "wrong exit code")
    if arguments[0] != "promote":
        counts.check(shop.answer() == served, f"{free} bytes free: other products are served than before")
