"""Re-ranker versions: what puts a spoke's candidates in order, kept in service only where it is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..door import checked
from ..errors import QualityGateError
from ..registry.kinds import ModelKind
from ..registry.records import ModelRecord
from .loading import ready_model
from .models import ModelResult
from .releases import promote as promote_release
from .targets import live_release

if TYPE_CHECKING:
    from .context import Context


@checked
class Rerankers:
    """The noun `rerank`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self, domain: str | None = None) -> list[ModelRecord]:
        """Every re-ranker version, oldest first, of one domain if asked."""
        return self._context.registry.models.list(ModelKind.RERANKER, domain)

    def show(self, ref: str) -> ModelRecord:
        """One re-ranker version; a domain's name, an alias or a release stands for the one that serves there."""
        registry = self._context.registry
        node = registry.resolve(ref)
        serving = registry.releases.get(node.ref).reranker if node.kind == "release" else None
        return ready_model(self._context, serving or node.ref, ModelKind.RERANKER)

    def train(
        self,
        domain: str,
        config: Mapping[str, Any] | None = None,
        *,
        spoke: str | None = None,
        events: str | None = None,
        test_from: datetime | None = None,
        promote: bool = False,
        force: bool = False,
        dry_run: bool = False,
    ) -> ModelResult:
        """Train a re-ranker for a spoke, by default the live one, and judge it on time that it has not seen.

        The spoke is trained again on what lies before each part that is learned from or judged by, so this takes as
        often as long as the spoke did. The version is stored whether or not it wins.

        Args:
            config: keys of `RerankConfig`.
            test_from: where the time that judges begins; by default the last eighth of the events does.
            promote: make it live with its spoke; where it does not win, `QualityGateError`.
        """
        from .reranking_plan import RerankJob
        from .reranking_training import train_reranker

        context, job = self._context, RerankJob(domain, spoke, config, events, test_from)
        result = train_reranker(context, job, force=force, dry_run=dry_run)
        if dry_run or not promote:
            return result
        try:
            moved = promote_release(context, self._beside(domain, result), reranker=result.ref, reason="newly trained")
        except QualityGateError as error:
            raise QualityGateError(f"{result.ref} is stored but not promoted: {error}") from error
        return replace(result, release=moved.after)

    def _beside(self, domain: str, result: ModelResult) -> str:
        """What the re-ranker is promoted with: the live release where its spoke serves there, else the spoke."""
        registry, spoke = self._context.registry, str(result.summary["spoke"])
        live = live_release(registry, domain)
        return live.ref if live and live.spoke == spoke else spoke
