"""`hubspoke bundle`: one file with a release and all its lineage, moved between two registries."""

from __future__ import annotations

from collections.abc import Mapping

import click

from ..workflows.bundles import BundleImport
from .call import Call, Noun
from .options import dry_run
from .output import facts, table


@click.group(cls=Noun)
def bundle() -> None:
    """A release and all its lineage in one file, for another registry."""


@bundle.command(
    example=(
        "hubspoke bundle export garden@candidate",
        "hubspoke bundle export release:garden/2 --output garden.hubspoke",
    )
)
@click.argument("ref")
@click.option("--output", metavar="FILE", help="File or folder to write to (default: named after REF, in this folder).")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@dry_run
def export(call: Call, ref: str, output: str | None, force: bool, dry_run: bool) -> None:
    """Write a release, or any other version, and everything that it came from to one file.

    The file carries item and event snapshots, that is data of shoppers: only its owner may read it, and it deserves
    the same care as the registry. It carries no weights of packaged or downloaded encoders, which must be installed
    where it is imported, no pictures, no aliases and no gates. The same release gives the same bytes. The SHA-256
    that is printed lets `bundle import` tell it from any other file: send it by another way.
    """
    result = call.workspace().bundle.export(ref, output, force, dry_run)
    head = f"{result.ref} {'would be written' if dry_run else 'written'} to {result.file}."
    content = [("bytes", f"{result.bytes:,}"), ("nodes", _counted(result.nodes)), ("artifacts", result.artifacts)]
    call.show(result, "\n".join([head, facts([*content, ("sha256", result.sha256)]), *result.notes]))


@bundle.command(
    "import",
    example=(
        "hubspoke bundle import garden-release-2.hubspoke --sha256 DIGEST",
        'hubspoke bundle import garden-release-2.hubspoke --alias live --reason "from staging"',
    ),
)
@click.argument("file")
@click.option("--alias", metavar="NAME", help="Point this alias at it afterwards, as `promote` does (default: none).")
@click.option("--reason", help="Why, for the history of the alias.")
@click.option("--sha256", metavar="DIGEST", help="Refuse any other file than the one that `bundle export` named so.")
@dry_run
def load(call: Call, file: str, alias: str | None, reason: str | None, sha256: str | None, dry_run: bool) -> None:
    """Take what a bundle holds into this registry and its artifact store.

    Everything in the file is checked before anything is written; a file that was damaged or tampered with is
    refused. Versions keep their numbers where these are free, else they get the next; what is here already is
    recognised and left as it is, so a repeated import changes nothing. Categories of one name are one, with the
    settings that they have here. Encoders must be installed here as there, and pictures do not come along.
    """
    call.show(call.workspace().bundle.load(file, alias, reason, sha256, dry_run), _imported)


def _imported(result: BundleImport) -> str:
    verb = "would come in" if result.dry_run else "came in"
    came = f"is here already: {result.ref}" if result.cached else f"{verb} as {result.ref}"
    content = [
        ("nodes", _counted(result.nodes)),
        ("new here", len(result.created)),
        ("artifacts stored", result.artifacts),
        ("sha256", result.sha256),
    ]
    renumbered = [(old, new) for old, new in result.refs.items() if old != new]
    lines = [f"{result.root} of the bundle {came}.", facts(content), table(("in the bundle", "here"), renumbered, "")]
    lines = [*filter(None, lines), *result.notes]
    if move := result.promotion:
        verb = "points already" if move.cached else "would point" if move.dry_run else "points"
        lines.append(
            f"{move.scope}@{move.alias} {verb} at {move.after or 'it'}; before it was {move.before or 'nothing'}."
        )
    return "\n".join(lines)


def _counted(nodes: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in nodes.items())
