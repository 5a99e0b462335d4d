"""Spoke versions: train a category's recommender on its sessions, on top of a hub, and never below the launch floor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from ..door import checked
from ..errors import LockedError, QualityGateError
from ..registry.kinds import ModelKind
from ..registry.records import ModelRecord
from ..registry.stores.aliases import ANYTHING
from . import releases
from .indexes import Indexes
from .loading import ready_model, spoke_ref
from .models import FOLLOWED, ModelResult

if TYPE_CHECKING:
    from .context import Context
    from .spoke_comparison import SpokeComparison


class TrainingOptions(TypedDict, total=False):
    """What is to be trained on what, as `spoke_plan.SpokeJob` explains it."""

    hub: str | None
    items: str | None
    events: str | None
    split: str
    test_from: datetime | None
    refit: bool
    parent: str | None
    on: str
    transfer: str | None


@checked
class Spokes:
    """The noun `spoke`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self, domain: str | None = None) -> list[ModelRecord]:
        """Every spoke version, oldest first, of one domain if asked."""
        return self._context.registry.models.list(ModelKind.SPOKE, domain)

    def show(self, ref: str) -> ModelRecord:
        """One spoke version; a domain's name stands for the spoke that is live there."""
        return ready_model(self._context, spoke_ref(self._context, ref), ModelKind.SPOKE)

    def compare(self, *refs: str) -> SpokeComparison:
        """Versions side by side: what they were made of, what came out, what was measured."""
        from .spoke_comparison import compare_spokes

        return compare_spokes(self._context, refs)

    def train(
        self,
        domain: str,
        config: Mapping[str, Any] | None = None,
        *,
        force: bool = False,
        dry_run: bool = False,
        index: bool = True,
        promote: bool = False,
        **options: Unpack[TrainingOptions],
    ) -> ModelResult:
        """Train a spoke on a domain's sessions, build its index, and make it live if nothing is yet.

        In a process that torchrun started beside others, the first one does all of this and the others train along.

        Args:
            config: keys of `SpokeConfig`; what it leaves open follows the parent, or the size and shape of the events.
            force: train again even if the same inputs and config made a spoke before.
            promote: make it live even where another release is. Where the domain's gate is not met the version and its
                index stay stored; what nobody asked to promote is then left as it is, with a note.
        """
        from .spoke_plan import SpokeJob
        from .spoke_training import train_spoke
        from .transfer import PRIOR, settle, train_unseen

        job = settle(self._context, SpokeJob(domain, config=config, **options), dry_run)
        unseen = (job.evidence or {}).get("by") == PRIOR
        result = (train_unseen if unseen else train_spoke)(self._context, job, force=force, dry_run=dry_run)
        if dry_run and job.transfer:
            planned = {"transfer": {"policy": job.transfer, **(job.evidence or {})}}
            result = replace(result, summary={**planned, **result.summary})
        if dry_run or not index or result.status == FOLLOWED:
            return result
        context = self._context
        built = Indexes(context).build(str(result.ref))
        if not promote and context.registry.domains.get(domain).live:
            return replace(result, index=built.ref)
        try:
            # Where somebody else made a first release during the training, nobody asked for another one.
            reason = "newly trained" if promote else "first release"
            expected = ANYTHING if promote else None
            moved = releases.promote(context, str(result.ref), reason=reason, expected=expected)
        except (QualityGateError, LockedError) as error:
            reason = f"{result.ref} is stored with {built.ref} but not promoted: {error}"
            if promote:
                raise type(error)(reason) from error
            context.progress.note(reason)
            return replace(result, index=built.ref)
        return replace(result, index=built.ref, release=moved.after)
