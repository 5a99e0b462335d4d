"""Bundles: one file with a node and all its lineage, which serves elsewhere what it served where it came from.

A file is checked to its last byte, and its rows are rehearsed, before anything is stored or recorded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..door import checked
from ..errors import CorruptArtifactError, InvalidDataError, NotFoundError, SchemaVersionError, UsageError
from ..registry.artifacts.manifests import MANIFEST as STORES_OWN
from ..registry.artifacts.manifests import Manifest, read_manifest, stays_inside
from ..registry.artifacts.manifests import parse as parse_artifact
from ..registry.database import HEAD_REVISION, REVISIONS
from ..registry.kinds import NodeKind
from ..registry.references import check_alias
from ..registry.references import parse as parse_reference
from ..registry.transfer.bundle_rows import BundleRows, contradiction, read_rows
from ..registry.transfer.bundles import Placement
from ..results import Record
from ..version import __version__
from .bundle_files import BundleFile, Member, encode, member_name, size_of, write_bundle
from .context import Context
from .releases import Promotion, promote

FORMAT = 1
SUFFIX = ".hubspoke"
NOT_CARRIED = "The weights of packaged or downloaded encoders and the pictures of products are not in it"
_KEYS = {"format", "hubspoke", "schema", "root", "created_at", "artifacts", "tables"}
_ARTIFACT_KEYS = {"digest", "kind", "bytes", "files", "created_at"}
_SERVING = (NodeKind.RELEASE, NodeKind.INDEX, NodeKind.SPOKE, NodeKind.HUB)
_MAX_NAME_BYTES = 255


@dataclass(frozen=True)
class BundleExport(Record):
    """A bundle that was written, or with `dry_run` would be; `sha256` is what `bundle import --sha256` takes."""

    ref: str
    file: Path
    sha256: str | None
    bytes: int
    nodes: Mapping[str, int]
    artifacts: int
    notes: Sequence[str]
    dry_run: bool = False


@dataclass(frozen=True)
class BundleImport(Record):
    """A bundle that was taken in, or with `dry_run` would be."""

    ref: str  # what it was made for, by its reference here
    root: str  # the same in the bundle
    file: Path
    sha256: str
    nodes: Mapping[str, int]  # of each kind
    refs: Mapping[str, str]  # reference of every node in the bundle to its reference here
    created: Sequence[str]  # references here of those that were not here before
    artifacts: int  # that were stored
    promotion: Promotion | None  # None where no alias was given, or a dry run stopped short of it
    notes: Sequence[str]
    cached: bool  # whether everything was here already
    dry_run: bool = False


@checked
class Bundles:
    """The noun `bundle`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def export(
        self, ref: str, output: Path | str | None = None, force: bool = False, dry_run: bool = False
    ) -> BundleExport:
        """Write a node with everything that it came from, and the evaluations of all that, to one file.

        `output` may be a folder; by default the file is named after the node, in the current folder.
        """
        rows = self._context.registry.bundles.rows(ref)
        path = Path.cwd() if output is None else Path(output)
        path = path / file_name(rows.root) if path.is_dir() else path
        if path.exists() and not force:
            raise UsageError(f"{path} is there already; name another file with --output, or replace it with --force.")
        places: dict[str, Path] = {}
        artifacts: dict[str, Manifest] = {}
        for row in rows.tables["artifacts"]:
            folder = self._context.artifacts.open(row["digest"])  # whose bytes have been hashed
            sealed = artifacts[row["digest"]] = read_manifest(folder, row["digest"])
            places.update({member_name(row["digest"], name): folder / name for name in sealed.sizes})
        events = rows.counts.get(NodeKind.EVENT_SNAPSHOT, 0)
        shoppers = f"It carries {events} event snapshots, which is data of shoppers: keep it as safe as those."
        manifest, members = encode(_document(rows, artifacts)), _members(artifacts.values())
        sha256 = None if dry_run else write_bundle(path, manifest, members, lambda member: places[member.name])
        return BundleExport(
            ref=rows.root,
            file=path,
            sha256=sha256,
            bytes=size_of(manifest, members),
            nodes=rows.counts,
            artifacts=len(artifacts),
            notes=[*([shoppers] if events else []), f"{NOT_CARRIED}; nor are aliases, their history and gates."],
            dry_run=dry_run,
        )

    def load(
        self,
        file: Path | str,
        alias: str | None = None,
        reason: str | None = None,
        sha256: str | None = None,
        dry_run: bool = False,
    ) -> BundleImport:
        """Take the content of a bundle into this workspace; what is here already stays as it is.

        `alias` is pointed at what comes in, under the checks of `promote`: where its gate is not met, the content is
        here and the alias where it was. `sha256` is what the file's has to be.
        """
        wanted = None if sha256 is None else sha256.strip().lower()
        if wanted is not None and (len(wanted) != 64 or not set(wanted) <= set("0123456789abcdef")):
            raise UsageError(f"{sha256!r} is no SHA-256; give the 64 hex digits that `hubspoke bundle export` printed.")
        with BundleFile(Path(file)) as bundle:
            rows, artifacts = _read(bundle)
            can_serve = parse_reference(rows.root).kind in _SERVING
            if alias is not None:
                check_alias(alias)
                if not can_serve:
                    raise UsageError(
                        f"{rows.root} of the bundle cannot serve, so no alias can point at it; leave out --alias."
                    )
            found = bundle.verify(_members(artifacts), self._context.progress.stage("checking the bundle"))
            if wanted not in (None, found):
                raise InvalidDataError(
                    f"{bundle.path} has SHA-256 {found}, not {wanted}; copy it again from where you trust it."
                )
            notes = [
                f"{NOT_CARRIED}: encoders must be installed here as there, and are checked when a model is loaded."
            ]
            for row in rows.tables["domains"]:
                known = self._context.registry.domains.find(row["name"])
                if known is None:
                    continue
                # Each registry has its own folders of pictures.
                here, there = ({**each, "image_roots": None} for each in (known.settings, row["settings"]))
                if here != there:
                    notes.append(f"The settings of {known.name} here differ from those in the bundle, and are kept.")
            placement, stored = self._take(bundle, rows, artifacts, dry_run)
        promotion = None
        if alias is not None and not (dry_run and placement.created):
            if not dry_run:
                self._context.progress.note(f"{placement.root} is here; moving the alias {alias} to it")
            why = reason or f"imported from {bundle.path.name}"
            promotion = promote(self._context, placement.root, alias, reason=why, dry_run=dry_run)
        elif alias is None and can_serve:
            notes.append(f"No alias was moved; `hubspoke promote {placement.root}` makes it live.")
        return BundleImport(
            ref=placement.root,
            root=rows.root,
            file=bundle.path,
            sha256=found,
            nodes=rows.counts,
            refs=placement.refs,
            created=placement.created,
            artifacts=stored,
            promotion=promotion,
            notes=notes,
            cached=not placement.created and not stored,
            dry_run=dry_run,
        )

    def _take(
        self, bundle: BundleFile, rows: BundleRows, artifacts: Sequence[Manifest], dry_run: bool
    ) -> tuple[Placement, int]:
        """Where the rows are now, or would be, and how many artifacts were stored for them."""
        placement = self._context.registry.bundles.place(rows, rehearse=True)
        # What no row here protects from the collection of garbage is stored once more: it may be about to go.
        safe = self._context.registry.artifacts.referenced()
        lacking = []
        for own in artifacts:
            if own.stored.digest in placement.artifacts:
                try:
                    if own.stored.digest in safe:
                        self._context.artifacts.verify(own.stored.digest)
                        continue
                except (NotFoundError, CorruptArtifactError):
                    pass
                lacking.append(own)
        if not dry_run:
            for done, own in enumerate(lacking):
                self._context.progress("storing artifacts", done, len(lacking))
                with self._context.stage() as staged:
                    for path, member in _files(own).items():
                        bundle.copy(member, staged / path)
                    stored = self._context.commit(staged, own.stored.kind)
                if stored.digest != own.stored.digest:
                    raise bundle.changed()
            if placement.created:
                placement = self._context.registry.bundles.place(rows)
        return placement, len(lacking)


# ---- the document ----


def _files(own: Manifest) -> dict[str, Member]:
    """An artifact's files by path, as members of the archive."""
    digest, hashes = own.stored.digest, own.stored.files
    return {path: Member(member_name(digest, path), own.sizes[path], hashes[path]) for path in sorted(hashes)}


def _members(artifacts: Iterable[Manifest]) -> list[Member]:
    return [member for own in artifacts for member in _files(own).values()]


def _document(rows: BundleRows, artifacts: Mapping[str, Manifest]) -> dict[str, Any]:
    described = []
    for row in rows.tables["artifacts"]:
        own = artifacts[row["digest"]]
        files = {path: {"sha256": member.sha256, "bytes": member.size} for path, member in _files(own).items()}
        about = {"digest": row["digest"], "kind": row["kind"], "bytes": own.stored.bytes, "files": files}
        described.append(about | {"created_at": row["created_at"]})
    tables = {name: list(own) for name, own in rows.tables.items() if name != "artifacts"}
    refs = {node["ref"] for node in rows.tables["nodes"]}
    for place, row in enumerate(tables["domains"]):
        # Folders of pictures of snapshots that stay behind do not go along.
        if "image_roots" in row["settings"]:
            roots = {ref: root for ref, root in row["settings"]["image_roots"].items() if ref in refs}
            tables["domains"][place] = row | {"settings": {**row["settings"], "image_roots": roots}}
    return {
        "format": FORMAT,
        "hubspoke": __version__,
        "schema": HEAD_REVISION,
        "root": rows.root,
        "created_at": rows.created_at,
        "artifacts": described,
        "tables": tables,
    }


def _read(bundle: BundleFile) -> tuple[BundleRows, list[Manifest]]:
    """The rows and artifacts that a bundle's document describes, all of it checked."""
    document = bundle.document()
    if not isinstance(document, dict):
        raise contradiction("it describes nothing")
    schema, by = document.get("schema"), document.get("hubspoke")
    if document.get("format") != FORMAT or schema not in REVISIONS:
        raise SchemaVersionError(
            f"{bundle.path} has format {document.get('format')} and schema {schema}, made by hubspoke {by}, a newer "
            f"one than this ({__version__}, format {FORMAT}, schema {HEAD_REVISION}); upgrade hubspoke here."
        )
    if document.keys() != _KEYS or not isinstance(document["tables"], dict) or "artifacts" in document["tables"]:
        raise contradiction("its parts are not those of a bundle")
    if not isinstance(document["artifacts"], list):
        raise contradiction("its artifacts are no list")
    artifacts = [_artifact(described) for described in document["artifacts"]]
    recorded = [
        {**described, "files": dict(own.stored.files)}
        for described, own in zip(document["artifacts"], artifacts, strict=True)
    ]
    try:
        rows = read_rows(document["root"], {"artifacts": recorded, **document["tables"]})
    except InvalidDataError as error:
        if schema == HEAD_REVISION:
            raise
        raise SchemaVersionError(
            f"{bundle.path} has schema {schema}, too old for this hubspoke, which needs {HEAD_REVISION}; "
            "upgrade hubspoke and the registry where it was made and export it again."
        ) from error
    if rows.created_at != document["created_at"]:
        raise contradiction("its time is not that of its root")
    return rows, artifacts


def _artifact(described: Any) -> Manifest:
    """An artifact whose digest, sizes and names have been checked to belong together and to stay in its folder."""
    if (
        not isinstance(described, dict)
        or described.keys() != _ARTIFACT_KEYS
        or not isinstance(described["files"], dict)
    ):
        raise contradiction("an artifact is described in another form")
    files = described["files"]
    for name, file in files.items():
        plain = isinstance(file, dict) and file.keys() == {"sha256", "bytes"} and type(file["bytes"]) is int
        if not plain or not isinstance(file["sha256"], str) or file["bytes"] < 0 or not _is_safe(name, files):
            raise contradiction(f"{name[:60]!r} can be no file of an artifact")
    sealed = parse_artifact(json.dumps(described).encode(), str(described["digest"]))
    if sealed is None or not files:
        raise contradiction(f"the files of artifact {str(described['digest'])[:12]} do not give its digest")
    return sealed


def _is_safe(name: str, files: Mapping[str, Any]) -> bool:
    """Whether a name can only be that of a file inside its artifact's folder, and of no other file of it."""
    path = PurePosixPath(name)
    return (
        str(path) == name != STORES_OWN
        and stays_inside(name)
        and name.isprintable()
        and all(len(part.encode()) <= _MAX_NAME_BYTES for part in path.parts)
        and {str(parent) for parent in path.parents}.isdisjoint(files)
    )


def file_name(ref: str) -> str:
    """The file that a node is bundled into: `garden-release-2.hubspoke` for `release:garden/2`."""
    kind, _, rest = ref.partition(":")
    domain, *numbered = rest.split("/")
    if not numbered:
        return f"{kind}-{domain}{SUFFIX}"
    words = [domain, *numbered] if kind == "snapshot" else [domain, kind, *numbered]
    return "-".join(words) + SUFFIX
