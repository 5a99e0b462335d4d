"""Spoke versions: train a category's recommender on its sessions, on top of a hub, and never below the launch floor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..errors import LockedError, QualityGateError, UsageError
from ..registry.kinds import ModelKind
from ..registry.records import ModelRecord
from . import releases
from .indexes import Indexes
from .loading import ready_model, spoke_ref
from .models import ModelResult, train_once
from .teams import follow, following, leading

# What a training from a parent may be on.
ON = ("all", "new")

if TYPE_CHECKING:
    from .context import Context
    from .spoke_comparison import SpokeComparison
    from .spoke_training import SpokeJob


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
        """Versions side by side: what they were made of, what came out, what was measured.

        Raises:
            NotFoundError: a reference points at nothing.
            UsageError: fewer than two versions are named, one twice, or one is no finished spoke.
        """
        from .spoke_comparison import compare_spokes

        return compare_spokes(self._context, refs)

    def train(
        self,
        domain: str,
        hub: str | None = None,
        config: Mapping[str, Any] | None = None,
        items: str | None = None,
        events: str | None = None,
        refit: bool = False,
        split: str = "leave-one-out",
        test_from: datetime | None = None,
        force: bool = False,
        dry_run: bool = False,
        index: bool = True,
        promote: bool = False,
        parent: str | None = None,
        on: str = "all",
    ) -> ModelResult:
        """Train a spoke on a domain's sessions, build its index, and make it live if nothing is yet.

        Args:
            domain: the category.
            hub: hub version; by default the live one, made untrained from packaged weights where there is none.
            config: keys of `SpokeConfig`; what it leaves open follows the size and shape of the training events, see
                `spokes.regimes`, or the parent.
            items: item snapshot; by default the newest.
            events: event snapshot; by default the newest.
            refit: after choosing on validation, train again with the validation events.
            split: what is kept out for testing. `leave-one-out`: each user's last event. `temporal`: everything from
                `test_from` on. `all`: nothing; for serving, not for measuring.
            test_from: first moment of the test window, with the temporal split.
            force: train again even if the same inputs and config made a spoke before.
            dry_run: only say what would be done.
            index: build its index afterwards.
            promote: make it live even where another release is. Where the domain's gate is not met the version and its
                index stay stored; what nobody asked to promote is then left as it is, with a note.
            parent: spoke version, of this domain or another, whose weights are trained on.
            on: with a parent: train on `all` events that the split lets be seen, or on those that are `new` to it.

        In a process that torchrun started beside others, the first one does all of this and the others train along.

        Raises:
            NotFoundError: no such domain, hub, parent or snapshot, or no events yet.
            InvalidDataError: no user has enough events to train on, or nothing is new to the parent.
            UsageError: the config or the split is not usable, or the parent has seen what the split keeps out.
            IncompatibleError: the parent's weights do not fit the config.
            QualityGateError: it was to be promoted and does not meet the gate.
        """
        from .spoke_training import SpokePlan, train_spoke

        if following():
            return follow(self._context)
        with leading(self._context) as team:
            job = self._job(domain, hub, config, items, events, split, test_from, refit, parent, on)
            plan = SpokePlan(self._context, job, dry_run)
            result = train_once(
                self._context, plan.recipe, lambda: train_spoke(self._context, plan, team), force=force, dry_run=dry_run
            )
        if dry_run:
            return result
        plan.forget()
        return self._index(domain, result, promote) if index else result

    def _job(
        self,
        domain: str,
        hub: str | None,
        config: Mapping[str, Any] | None,
        items: str | None,
        events: str | None,
        split: str,
        test_from: datetime | None,
        refit: bool,
        parent: str | None,
        on: str,
    ) -> SpokeJob:
        """What was asked for, as far as it can be checked without data.

        Raises:
            UsageError: it contradicts itself.
            NotFoundError: no such parent.
        """
        from ..spokes.training.splits import SplitSettings

        SplitSettings(split, test_from)
        if on not in ON:
            raise UsageError(f"There are no {on!r} events to train on; choose one of {', '.join(ON)}.")
        if on != "all" and parent is None:
            raise UsageError("Events are new to a parent only; name one with --from, or leave --on out.")
        from ..spokes.config import without_retired
        from ..spokes.regimes import deep_merge
        from .spoke_training import SpokeJob

        record = self.show(parent) if parent else None
        given = {"seed": self._context.settings.seed, **(config or {})}
        return SpokeJob(
            domain=domain,
            hub=hub,
            config=deep_merge(without_retired(record.config), given) if record else given,
            items=items,
            events=events,
            split=split,
            test_from=test_from.isoformat() if test_from else None,
            refit=refit,
            parent=record.ref if record else None,
            on=on,
        )

    def _index(self, domain: str, result: ModelResult, promote: bool) -> ModelResult:
        context = self._context
        built = Indexes(context).build(str(result.ref))
        if not promote and context.registry.domains.get(domain).live:
            return replace(result, index=built.ref)
        try:
            # Where somebody else made a first release during the training, nobody asked for another one.
            reason = "newly trained" if promote else "first release"
            moved = releases.promote(context, str(result.ref), reason=reason, first=not promote)
        except (QualityGateError, LockedError) as error:
            told = f"{result.ref} is stored with {built.ref} but not promoted: {error}"
            if promote:
                raise type(error)(told) from error
            context.progress.note(told)
            return replace(result, index=built.ref)
        return replace(result, index=built.ref, release=moved.after)
