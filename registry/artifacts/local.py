"""The artifact store: directories named by the SHA-256 of what is in them, written whole or not at all.

A directory is staged beside its place, flushed to the disk and renamed; what is read is hashed again first. No lock is
held anywhere: every step is one rename, so that machines that share the folder may write and collect garbage at once.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ...errors import NotFoundError
from ...files import atomic_write, file_faults, flush, is_stale, new_name, size_of
from .manifests import Manifest, StoredArtifact, check_digest, is_digest, is_sound, read_manifest, seal, verify_files
from .marks import MARK, Mark, parse_mark


@dataclass(frozen=True)
class Leftover:
    """A folder that something is, or was, staged in; `stale` where its writer is gone."""

    path: Path
    bytes: int
    stale: bool


class ArtifactStore:
    """Content-addressed directories under `root`, which is made when something is first written.

    Whatever is asked of an artifact that is not there raises NotFoundError; reading or verifying a damaged one raises
    CorruptArtifactError; a full disk or a place that may not be written is a HubspokeError.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._staging = root / "staging"

    @property
    def where(self) -> str:
        """Where the store lies, for people."""
        return str(self.root)

    def path(self, digest: str) -> Path:
        """Where the artifact of that digest lies on this machine, or would."""
        return self.root / check_digest(digest)[:2] / digest

    # ---- whose it is ----

    def mark(self) -> Mark | None:
        """Whose the store is, None where nothing says so; an unreadable mark is an InvalidDataError."""
        content = self._read_mark()
        return None if content is None else parse_mark(content, self.where)

    def put_mark(self, mark: Mark) -> None:
        """Say from now on whose the store is."""
        with file_faults(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.root / MARK, "wb") as file:
                file.write(mark.to_bytes())

    def _read_mark(self) -> bytes | None:
        try:
            with file_faults(self.root):
                return (self.root / MARK).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    # ---- write ----

    @contextmanager
    def stage(self) -> Iterator[Path]:
        """An empty directory inside the store to write files into; gone at the end unless committed."""
        self.sweep_stale()
        with file_faults(self.root):
            staged = self._staging_folder()
            try:
                yield staged
            finally:
                shutil.rmtree(staged, ignore_errors=True)

    def commit(self, staged: Path, kind: str) -> StoredArtifact:
        """Make the staged directory an artifact; equal content that is already there is kept and touched instead.

        A commit promises that the artifact is safe from the collection of garbage for its grace period from now on,
        in which the row that refers to it has to be written. Whatever fails, nothing half-written is left.
        """
        with file_faults(self.root):
            manifest = seal(staged, kind)
            self._keep(staged, manifest)
        return manifest.stored

    # ---- read ----

    def open(self, digest: str, verify: bool = True) -> Path:
        """The artifact's directory on this machine, every file hashed first unless `verify` is off."""
        path = self._folder(digest)
        if verify:
            verify_files(path, digest)
        return path

    def read(self, digest: str) -> StoredArtifact:
        """What the artifact's manifest says, its files not hashed."""
        return read_manifest(self._folder(digest), digest).stored

    def verify(self, digest: str) -> int:
        """Hash every byte of the artifact where the store keeps it; how many there were."""
        return verify_files(self._folder(digest), digest)

    def digests(self) -> Iterator[str]:
        """Digests of all artifacts of the store, sorted."""
        return (path.name for path in sorted(self.root.glob("??/*")) if is_digest(path.name))

    def missing(self, digest: str) -> NotFoundError:
        """The error of an artifact that the store lacks."""
        return NotFoundError(
            f"The artifact {digest[:12]} is not in {self.where}; repeat the command that made it, with --force where "
            "it has that option, or restore a backup."
        )

    # ---- collect garbage ----

    def holdings(self) -> dict[str, int]:
        """Digest of everything that the store keeps, whole or in parts, to its bytes with the manifest."""
        return {digest: size_of(self.path(digest)) for digest in self.digests()}

    def touched(self, digest: str) -> datetime:
        """When an artifact was last committed."""
        try:
            return _touched(self.path(digest))
        except FileNotFoundError:
            raise self.missing(digest) from None

    def delete(self, digest: str, untouched_since: datetime) -> bool:
        """Remove an artifact unless it was committed at `untouched_since` or later; whether it was removed."""
        # A writer commits first and inserts its row after, so it may be committing equal content right now, trusting
        # what lies here. Looking at the time before taking the artifact away would miss a touch in between. It is
        # taken away first: a commit touches it before that, which is seen here, and it is put back; or it finds the
        # place empty and puts its own there.
        with file_faults(self.root):
            taken = self._take_away(digest)
            if taken is None:
                return False
            removed = _touched(taken) < untouched_since
            if not removed:
                # Where the place is occupied, equal content has been committed meanwhile.
                _rename_unless_taken(taken, self.path(digest))
            # Not in a `finally`: a process that dies before this line leaves the artifact for a sweep to put back.
            shutil.rmtree(taken.parent, ignore_errors=True)
        return removed

    def leftovers(self) -> list[Leftover]:
        """Every staging folder, of live writers too."""
        return [Leftover(folder, size_of(folder), is_stale(folder)) for folder in _inside(self._staging)]

    def sweep_stale(self) -> list[Leftover]:
        """Remove what killed processes of this machine, and for a day those of others, left staged; what it was."""
        stale = [leftover for leftover in self.leftovers() if leftover.stale]
        for leftover in stale:
            # Back goes what a process was killed over between taking it away and deciding on it.
            for taken in _inside(leftover.path):
                if is_digest(taken.name) and is_sound(taken):
                    with file_faults(self.root):
                        _rename_unless_taken(taken, self.path(taken.name))
            shutil.rmtree(leftover.path, ignore_errors=True)
        return stale

    # ---- within ----

    def _folder(self, digest: str) -> Path:
        path = self.path(digest)
        if not path.is_dir():
            raise self.missing(digest)
        return path

    def _staging_folder(self) -> Path:
        folder = self._staging / new_name()
        folder.mkdir(parents=True)
        return folder

    def _keep(self, staged: Path, manifest: Manifest) -> None:
        """Put a sealed directory into its place."""
        place = self.path(manifest.stored.digest)
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = staged.with_name(f"{staged.name}-corrupt")
        # Where another process places equal content in between, that is looked at in turn.
        while not (_kept(place, aside) or _rename_unless_taken(staged, place)):
            pass
        flush(place.parent)
        shutil.rmtree(aside, ignore_errors=True)

    def _take_away(self, digest: str) -> Path | None:
        """Move an artifact out of its place into a staging folder of its own; None where it is not there."""
        place = self.path(digest)
        if not place.is_dir():
            return None
        # The folder around it tells a sweep whose it is and since when; its own time stays as it was.
        taken = self._staging_folder() / digest
        try:
            return place.rename(taken)
        except FileNotFoundError:
            shutil.rmtree(taken.parent, ignore_errors=True)
            return None


def _inside(folder: Path) -> list[Path]:
    """What is in a folder, sorted; nothing where it does not exist, or vanishes."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _kept(place: Path, aside: Path) -> bool:
    """Whether sound content lies at its place, touched now; what is not sound is moved aside."""
    try:
        if is_sound(place):
            # Young from here on for whoever collects garbage; a collector that has just taken it away leaves nothing
            # here to touch.
            os.utime(place)
            return True
        # Moved aside rather than deleted in place, so that a kill in between leaves no half artifact.
        place.rename(aside)
    except FileNotFoundError:
        pass
    return False


def _touched(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _rename_unless_taken(source: Path, place: Path) -> bool:
    try:
        source.rename(place)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True
