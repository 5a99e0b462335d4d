"""`hubspoke gc`: remove the artifacts that nothing refers to."""

from __future__ import annotations

from datetime import timedelta

import click

from ..errors import UsageError
from ..workflows.garbage import Garbage
from .call import Call, command
from .output import table


@command(example=("hubspoke gc --dry-run", "hubspoke gc --yes --older-than 48"))
@click.option("--dry-run", is_flag=True, help="Say what would be removed and change nothing (as without --yes).")
@click.option("--yes", is_flag=True, help="Remove it.")
@click.option(
    "--older-than",
    type=click.IntRange(min=0, max=100_000),
    default=24,
    show_default=True,
    metavar="HOURS",
    help="Leave what was written in the last HOURS to commands that may still be at work.",
)
def gc(call: Call, dry_run: bool, yes: bool, older_than: int) -> None:
    """Remove artifacts that no row of this registry refers to, and what killed commands left half-written.

    An artifact store belongs to one registry: another one, or an older copy of the same, is refused.
    """
    if dry_run and yes:
        raise UsageError("--dry-run changes nothing and --yes removes; give one of the two.")
    result = call.workspace().gc(dry_run=not yes, grace=timedelta(hours=older_than))
    call.show(result, _removed)
    if not yes and (result.artifacts or result.folders):
        call.note("Nothing was removed; `hubspoke gc --yes` removes it.")


def _removed(garbage: Garbage) -> str:
    rows = [(artifact.digest[:12], artifact.kind, artifact.bytes) for artifact in garbage.artifacts]
    rows += [(folder.name, "half-written folder", folder.bytes) for folder in garbage.folders]
    done = "would be removed" if garbage.dry_run else "removed"
    lines = [table(("artifact", "kind", "bytes"), rows, "Nothing to remove.")]
    if rows:
        lines.append(f"{len(rows)} {done} from {garbage.store}, {garbage.bytes:,} bytes.")
    if garbage.young:
        lines.append(f"{garbage.young} more that nothing refers to kept: younger than {garbage.grace_hours:g} hours.")
    return "\n".join(lines)
