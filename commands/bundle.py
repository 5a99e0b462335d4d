"""`hubspoke bundle`: one file with a release and all its lineage, moved between two registries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .call import Call, command_options
from .options import dry_run
from .output import facts, table

if TYPE_CHECKING:
    from ..workflows.bundles import BundleExport, BundleImport


@click.group()
def bundle() -> None:
    """A release and all its lineage in one file, for another registry."""


@bundle.command()
@click.argument("ref")
@click.option("--output", metavar="FILE", help="File or folder to write to (default: named after REF, in this folder).")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@dry_run
@command_options
def export(call: Call, ref: str, output: str | None, force: bool, dry_run: bool) -> None:
    """Write a release, or any other version, and everything that it came from to one file.

    The file carries item and event snapshots, that is data of shoppers: only its owner may read it, and it deserves
    the same care as the registry. It carries no weights of packaged or downloaded encoders, which must be installed
    where it is imported, no pictures, no aliases and no gates. The same release gives the same bytes. The SHA-256
    that is printed lets `bundle import` tell it from any other file: send it by another way.

    \b
    Example:
      hubspoke bundle export garden@candidate
      hubspoke bundle export release:garden/2 --output garden.hubspoke
    """
    result = call.workspace().bundle.export(ref, output, force, dry_run)
    call.show(result, lambda: _exported(result))


@bundle.command("import")
@click.argument("file")
@click.option("--alias", metavar="NAME", help="Point this alias at it afterwards, as `promote` does (default: none).")
@click.option("--reason", help="Why, for the history of the alias.")
@click.option("--sha256", metavar="DIGEST", help="Refuse any other file than the one that `bundle export` named so.")
@dry_run
@command_options
def load(call: Call, file: str, alias: str | None, reason: str | None, sha256: str | None, dry_run: bool) -> None:
    """Take what a bundle holds into this registry and its artifact store.

    Everything in the file is checked before anything is written; a file that was damaged or tampered with is
    refused. Versions keep their numbers where these are free, else they get the next; what is here already is
    recognised and left as it is, so a repeated import changes nothing. Categories of one name are one, with the
    settings that they have here. Encoders must be installed here as there, and pictures do not come along.

    \b
    Example:
      hubspoke bundle import garden-release-2.hubspoke --sha256 DIGEST
      hubspoke bundle import garden-release-2.hubspoke --alias live --reason "from staging"
    """
    result = call.workspace().bundle.load(file, alias, reason, sha256, dry_run)
    call.show(result, lambda: _imported(result))


def _counted(nodes: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in nodes.items())


def _exported(result: BundleExport) -> str:
    verb = "would be written" if result.dry_run else "written"
    told = facts(
        [
            ("bytes", f"{result.bytes:,}"),
            ("nodes", _counted(dict(result.nodes))),
            ("artifacts", result.artifacts),
            ("sha256", result.sha256),
        ]
    )
    return "\n".join([f"{result.ref} {verb} to {result.file}.", told, *result.notes])


def _imported(result: BundleImport) -> str:
    if result.cached:
        head = f"{result.root} of the bundle is here already: {result.ref}."
    else:
        verb = "would come in" if result.dry_run else "came in"
        head = f"{result.root} of the bundle {verb} as {result.ref}."
    told = facts(
        [
            ("nodes", _counted(dict(result.nodes))),
            ("new here", len(result.created)),
            ("artifacts stored", result.artifacts),
            ("sha256", result.sha256),
        ]
    )
    moved = [(old, new) for old, new in result.refs.items() if old != new]
    renumbered = [table(("in the bundle", "here"), moved)] if moved else []
    return "\n".join([head, told, *renumbered, *result.notes, *_alias(result)])


def _alias(result: BundleImport) -> list[str]:
    move = result.promotion
    if move is None:
        return []
    verb = "points already" if move.cached else "would point" if move.dry_run else "points"
    return [f"{move.scope}@{move.alias} {verb} at {move.after or 'it'}; before it was {move.before or 'nothing'}."]
