"""The artifact store at an fsspec URL (`s3://`, `gs://`, ...), with read copies in a local folder.

An artifact exists where its manifest does: the manifest is uploaded last and deleted first.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from ...errors import CorruptArtifactError, HubspokeError, NotFoundError
from ...files import file_faults
from .local import ArtifactStore
from .manifests import MANIFEST, Manifest, StoredArtifact, check_digest, corrupt, is_digest, parse, seal
from .marks import MARK, Mark
from .remote_files import RemoteFiles

_CONDEMNED = "condemned"
_UPLOADS = 3
# A collector removes one artifact in a few requests; one that has not done so after a minute is taken for dead.
_WAITS = 300
_WAIT_SECONDS = 0.2


def open_store(location: Path | str, copies: Path) -> ArtifactStore:
    """The store at a folder, or at an fsspec URL such as `s3://bucket/prefix`, whose read copies lie in `copies`."""
    if isinstance(location, Path) or "://" not in location:
        return ArtifactStore(Path(location))
    return RemoteArtifactStore(location, copies)


class RemoteArtifactStore(ArtifactStore):
    """Objects `<url>/<first two of the digest>/<digest>/<file>`, each artifact read through a verified local copy.

    Nothing but the place is set here. Each driver reads its own environment: for S3 and what speaks its language
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_PROFILE, AWS_DEFAULT_REGION and AWS_ENDPOINT_URL
    (a MinIO or other server of one's own), for Google Cloud Storage GOOGLE_APPLICATION_CREDENTIALS. The bucket must
    exist. One store belongs to one registry: what another registry refers to would look like garbage.

    `copies` is the folder of the read copies, itself a local store; it may be removed at any time. A store that cannot
    be reached raises HubspokeError.
    """

    def __init__(self, url: str, copies: Path) -> None:
        super().__init__(copies)
        self._files = RemoteFiles(url)

    @property
    def where(self) -> str:
        """The store's URL."""
        return self._files.url

    # ---- whose it is ----

    def put_mark(self, mark: Mark) -> None:
        """Say from now on whose the store is."""
        self._files.write(MARK, mark.to_bytes())

    def _read_mark(self) -> bytes | None:
        return self._files.read(MARK)

    # ---- read ----

    def open(self, digest: str, verify: bool = True) -> Path:
        """The artifact's local copy; one that is missing or damaged is fetched anew."""
        try:
            return super().open(digest, verify)
        except (NotFoundError, CorruptArtifactError):
            self._fetch(check_digest(digest))
            return self.path(digest)

    def read(self, digest: str) -> StoredArtifact:
        """What the artifact's remote manifest says, its files not hashed."""
        return self._manifest(digest).stored

    def verify(self, digest: str) -> int:
        """Hash every remote byte of the artifact; how many there were."""
        stored = self._manifest(digest).stored
        for name, expected in stored.files.items():
            if self._files.hash(_at(digest, name)) != expected:
                raise corrupt(name, digest, self.where)
        return stored.bytes

    def digests(self) -> Iterator[str]:
        """Digests of all artifacts of the store, sorted."""
        paths = self._files.list()
        yield from sorted(digest for path in paths if (digest := _digest_of(path)) and path == _at(digest, MANIFEST))

    # ---- collect garbage ----

    def holdings(self) -> dict[str, int]:
        """Digest of everything that the store keeps, uploads that were never finished too, to its bytes."""
        held: dict[str, int] = {}
        for path, size in self._files.list().items():
            if digest := _digest_of(path):
                held[digest] = held.get(digest, 0) + size
        return held

    def touched(self, digest: str) -> datetime:
        """When an artifact was last committed, or a file of an unfinished upload last written."""
        committed = self._files.modified(_at(digest, MANIFEST))
        times = [committed] if committed else map(self._files.modified, self._files.list(_at(digest)))
        known = [moment for moment in times if moment is not None]
        if not known:
            raise self.missing(digest)
        return max(known)

    def delete(self, digest: str, untouched_since: datetime) -> bool:
        """Remove an artifact unless it was committed at `untouched_since` or later; whether it was removed."""
        # Objects cannot be moved away as folders can, so collector and writer each raise a flag before they look at
        # the other's. The collector condemns the artifact, then looks when its manifest was written; the writer
        # writes the manifest, then looks whether the artifact is condemned (`_keep`). Whatever the order, one sees
        # the other: the collector a young manifest, and lets it be; or the writer the condemnation, and waits for its
        # end to upload again what is gone.
        condemned = _condemned(digest)
        self._files.write(condemned, b"")
        try:
            if self.touched(digest) >= untouched_since:
                return False
            # The manifest goes first: a collector that is killed after it leaves files that nobody takes for an
            # artifact.
            manifest = _at(digest, MANIFEST)
            for path in (manifest, *(path for path in self._files.list(_at(digest)) if path != manifest)):
                self._files.remove(path)
            self._remove_copy(digest)
            return True
        except NotFoundError:
            return False
        finally:
            self._files.remove(condemned)

    # ---- within ----

    def _manifest(self, digest: str) -> Manifest:
        content = self._files.read(_at(digest, MANIFEST))
        if content is None:
            raise self.missing(digest)
        manifest = parse(content, digest)
        if manifest is None:
            raise corrupt(MANIFEST, digest, self.where)
        return manifest

    def _remove_copy(self, digest: str) -> None:
        """Remove the read copy of an artifact, unless what lies there is a store of its own."""
        with file_faults(self.root):
            copy = self._take_away(digest) if super()._read_mark() is None else None
            if copy is not None:
                shutil.rmtree(copy.parent, ignore_errors=True)

    def _fetch(self, digest: str) -> None:
        """Make the local copy of an artifact from the remote bytes, which are hashed before it takes its place."""
        stored = self._manifest(digest).stored
        with self.stage() as staged:
            for name in stored.files:
                (staged / name).parent.mkdir(parents=True, exist_ok=True)
                if not self._files.download(_at(digest, name), staged / name):
                    raise corrupt(name, digest, self.where)
            fetched = seal(staged, stored.kind)
            for name, expected in stored.files.items():
                if fetched.stored.files[name] != expected:
                    raise corrupt(name, digest, self.where)
            super()._keep(staged, fetched)

    def _keep(self, staged: Path, manifest: Manifest) -> None:
        """Upload a sealed directory, then keep it as the read copy."""
        digest = manifest.stored.digest
        kept = False
        with suppress(NotFoundError, CorruptArtifactError):
            kept = self.verify(digest) >= 0
        for _ in range(_UPLOADS):
            if not kept:
                for name in manifest.stored.files:
                    self._files.upload(staged / name, _at(digest, name))
            # Where everything is there already, too: its new time is what keeps a collector of garbage away.
            self._files.write(_at(digest, MANIFEST), manifest.to_bytes())
            for _ in range(_WAITS):
                if not self._files.exists(_condemned(digest)):
                    break
                time.sleep(_WAIT_SECONDS)
            else:
                self._files.remove(_condemned(digest))  # the flag of one that died
            # A collector that came to its end between our files and our manifest has removed files of ours.
            if self._is_complete(manifest):
                super()._keep(staged, manifest)
                return
            kept = False
        raise HubspokeError(
            f"The artifact {digest[:12]} does not stay in {self.where}, where something else removes its files; "
            "end that and repeat the command."
        )

    def _is_complete(self, manifest: Manifest) -> bool:
        digest = manifest.stored.digest
        expected = {_at(digest, name): size for name, size in manifest.sizes.items()}
        expected[_at(digest, MANIFEST)] = len(manifest.to_bytes())
        return expected.items() <= self._files.list(_at(digest)).items()


def _at(digest: str, name: str = "") -> str:
    """The path of an artifact, or of one of its files, below the store's URL."""
    folder = f"{check_digest(digest)[:2]}/{digest}"
    return f"{folder}/{name}" if name else folder


def _condemned(digest: str) -> str:
    return f"{_CONDEMNED}/{check_digest(digest)}"


def _digest_of(path: str) -> str | None:
    """Of which artifact a file of the store is a part, None where of none."""
    first, digest, *rest = [*path.split("/"), "", ""][:3]
    return digest if is_digest(digest) and first == digest[:2] and rest != [""] else None
