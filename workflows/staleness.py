"""What serves and has been overtaken, with the items counted that an index lacks; tables are read for that alone."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import CorruptArtifactError, NotFoundError
from ..registry.kinds import NodeKind
from ..registry.lineage.staleness import NEWER_ITEMS, Staleness
from ..registry.references import parse
from .context import Context

if TYPE_CHECKING:
    import polars as pl


NAMED = 5


def domain_staleness(context: Context, domain: str) -> tuple[Staleness, ...]:
    """What is behind in the live release of a domain; an index tells how many items of the newest catalog it lacks."""
    found = []
    for finding in context.registry.lineage.staleness(domain):
        if finding.what == NEWER_ITEMS and parse(finding.part).kind is NodeKind.INDEX:
            # `doctor` tells of damaged artifacts; the registry's own sentence stands for them.
            with suppress(NotFoundError, CorruptArtifactError):
                indexed, newest = (_item_ids(context, ref) for ref in (finding.has, finding.newest))
                missing = newest.filter(~newest.is_in(indexed.implode())).len()
                detail = f"items in the newest catalog missing from {finding.part}: {missing:,} of {newest.len():,}"
                finding = replace(finding, detail=detail)
        found.append(finding)
    return tuple(found)


def summary(context: Context) -> tuple[bool, str]:
    """Whether every live release is up to date, and one sentence on those that are not."""
    findings = context.registry.lineage.staleness()
    behind: dict[str, dict[str, None]] = {}
    for finding in findings:
        behind.setdefault(finding.domain, {})[finding.what] = None
    if not behind:
        live = len(context.registry.releases.live())
        return True, f"{live} live release{'' if live == 1 else 's'}, none behind" if live else "nothing is live yet"
    named = [f"{domain} ({', '.join(what)})" for domain, what in list(behind.items())[:NAMED]]
    more = f" and {len(behind) - NAMED} more" if len(behind) > NAMED else ""
    return False, f"behind: {', '.join(named)}{more}; see `hubspoke domain show {next(iter(behind))}`."


def _item_ids(context: Context, ref: str) -> pl.Series:
    """The ids of a snapshot's items, no other column read; whether its files are sound is for others to find out."""
    import polars as pl

    from ..catalog.snapshots import DATA_FILE
    from .datasets import TABLE_FOLDER

    path = context.artifacts.open(context.registry.snapshots.get(ref).artifact, verify=False) / TABLE_FOLDER / DATA_FILE
    try:
        return pl.read_parquet(path, columns=["item_id"], glob=False)["item_id"]
    except (pl.exceptions.PolarsError, OSError) as error:
        raise CorruptArtifactError(f"{path} cannot be read; ingest the data of {ref} again.") from error
