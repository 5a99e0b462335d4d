"""Launch a category: from a catalog file to recommendations in one call, behaviour added where there is some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

from ..errors import CorruptArtifactError, InvalidDataError, QualityGateError
from ..registry.kinds import ModelKind
from ..results import Record
from .data import Data, DataIngested
from .domains import DomainAdded, Domains
from .hubs import Hubs
from .indexes import Indexes
from .loading import ready_model
from .models import parse_config
from .releases import promote
from .spokes import Spokes
from .steps import Steps

if TYPE_CHECKING:
    from .answers import Recommendations
    from .context import Context
    from .datasets import Table
    from .ingest import IngestResult, ReadOptions

# Items whose recommendations a launch shows.
SHOWN_ITEMS = 3


@dataclass(frozen=True)
class LaunchResult(Record):
    """A launched category: what was done step by step, and recommendations for a few items of the catalog."""

    domain: str
    mode: str  # `day zero` where the hub alone serves, `trained` where a spoke does
    release: str | None  # what is live now; None in a dry run
    seconds: float  # from the call to the first recommendation
    steps: Sequence[Mapping[str, Any]]  # each with the version it gave, its seconds and whether it was cached
    recommendations: Sequence[Recommendations]
    report: str | None  # artifact of the launch report, which `launch report` shows; None in a dry run
    items: IngestResult | None = None  # how the catalog was read
    events: IngestResult | None = None


class _Launch:
    """A launch on its way: the category, and what was done step by step."""

    def __init__(self, context: Context, name: str) -> None:
        self.context, self.name, self.steps = context, name, Steps()

    @property
    def live(self) -> str | None:
        return self.context.registry.domains.get(self.name).live

    @property
    def serving(self) -> str | None:
        """The spoke that is live already: a newer catalog does not take it out of service, it extends its index."""
        return self.context.registry.releases.get(self.live).spoke if self.live else None

    def release(self, ref: str) -> None:
        """Make a version live; where the gate refuses it, what is live already (or else the refusal) stays."""
        try:
            moved = promote(self.context, ref, reason="launch")
        except QualityGateError as error:
            if self.live is None:
                raise
            self.context.progress.note(f"{ref} is stored but not promoted: {error}")
        else:
            self.steps.add("release", moved.after, moved.cached)

    def train(self, hub: str, config: Mapping[str, Any] | None) -> None:
        """Train a spoke and make it live, where the events allow it."""
        try:
            spoke = Spokes(self.context).train(self.name, hub=hub, config=config, split="all", refit=True)
        except CorruptArtifactError:
            raise
        except InvalidDataError as error:
            self.context.progress.note(f"{error}")
            return
        self.steps.add("spoke", spoke.ref, spoke.cached)
        self.release(str(spoke.ref))


def launch(
    context: Context,
    name: str,
    catalog: Table,
    events: Table | None = None,
    *,
    hub: str | None = None,
    k: int = 10,
    config: Mapping[str, Any] | None = None,
    description: str = "",
    dry_run: bool = False,
    **options: Unpack[ReadOptions],
) -> LaunchResult:
    """Add the category (or its newer catalog), embed it with the hub, index it, and make it live.

    With events a spoke is trained on all of them and goes live instead; a category whose events do not yet allow
    training is served by the hub alone. A spoke that is live already stays in service, its index extended by the newer
    catalog, and so does whatever is live where the category's gate refuses what would take its place. Every step is
    cached, so a killed launch is simply repeated.
    """
    from ..spokes.config import SpokeConfig
    from .launch_reports import keep_report
    from .recommendations import Recommender

    run = _Launch(context, name)
    known = ready_model(context, hub, ModelKind.HUB).ref if hub else Hubs(context).live()
    if events is not None:
        parse_config(SpokeConfig, config, "spoke")  # wanted only at the end, refused before anything is done
    taken: DomainAdded | DataIngested
    if context.registry.domains.find(name) is None:
        taken = Domains(context).add(name, catalog, events, description=description, dry_run=dry_run, **options)
    else:
        taken = Data(context).ingest(name, catalog, events, dry_run=dry_run, **options)
    run.steps.add_taken(taken)
    if dry_run:
        return LaunchResult(
            name, "planned", None, run.steps.seconds, run.steps.done, [], None, taken.items, taken.events
        )
    hub_ref = known or Hubs(context).ensure()
    run.steps.add("hub", hub_ref, known is not None)
    index = Indexes(context).build(run.serving or hub_ref, domain=name)
    run.steps.add("index", index.ref, index.cached)
    run.release(str(index.ref))
    if events is not None:
        run.train(hub_ref, config)
    shown = Recommender(context, name)
    ids = shown.dataset.items["item_id"]
    # Those for a few items spread over the catalog.
    rows = sorted({round(i * (len(ids) - 1) / max(1, SHOWN_ITEMS - 1)) for i in range(SHOWN_ITEMS)})
    answers = [shown.recommend([str(ids[row])], k=k, exclude_seen=True) for row in rows]
    run.steps.add("first recommendations", None, False)
    mode, seconds, steps = "trained" if run.serving else "day zero", run.steps.seconds, run.steps.done
    release = context.registry.releases.get(str(run.live))
    parts = [part for part in (taken.items, taken.events) if part]
    report = keep_report(context, release, mode, seconds, steps, parts, shown, answers)
    return LaunchResult(name, mode, release.ref, seconds, steps, answers, report, taken.items, taken.events)
