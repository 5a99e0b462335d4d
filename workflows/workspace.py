"""The workspace: one registry, one artifact store, one cache, and the nouns that work on them.

Everything beyond the registry is imported when it is first used, so that a question to the registry loads no torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from ..door import checked
from ..progress import Progress
from ..registry.stores.aliases import ANYTHING
from ..settings import current_folder, load_settings
from . import backups, doctor, garbage, releases, setup
from .context import Context
from .data import Data
from .domains import Domains
from .gates import Gates

if TYPE_CHECKING:
    from ..registry.lineage.store import LineageStore
    from ..registry.query import QueryResult
    from ..registry.records import AliasChange
    from ..retrieval.filters import Filter
    from .answers import Recommendations, SearchResults
    from .bundles import Bundles
    from .datasets import Table
    from .evaluations import Evaluations
    from .experiments import Experiments
    from .explain import Explanation
    from .hubs import Hubs
    from .indexes import Indexes
    from .ingest import ReadOptions
    from .launch_reports import StoredReport
    from .launches import LaunchResult
    from .quality import Quality
    from .refresh import RefreshResult, Retrain
    from .reranking import Rerankers
    from .rules import RuleVersions
    from .spokes import Spokes


@checked
class Workspace(Context):
    """An open workspace: its context with the nouns on it; closing it (or leaving `with`) closes the registry."""

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def exists(self) -> bool:
        """Whether there is a registry, of whatever schema."""
        return setup.current_schema(self) is not None

    def init(self, dry_run: bool = False) -> setup.InitResult:
        """Make the folders and the registry where they are missing, and bring the registry's schema up to date."""
        return setup.init(self, dry_run)

    def schema(self) -> setup.SchemaState:
        """The registry's schema, whether or not this code can work with it."""
        return setup.schema_state(self)

    @cached_property
    def domain(self) -> Domains:
        """Product categories."""
        return Domains(self)

    @cached_property
    def data(self) -> Data:
        """Snapshots of items and events."""
        return Data(self)

    @cached_property
    def hub(self) -> Hubs:
        """Hub versions."""
        from .hubs import Hubs

        return Hubs(self)

    @cached_property
    def spoke(self) -> Spokes:
        """Spoke versions."""
        from .spokes import Spokes

        return Spokes(self)

    @cached_property
    def index(self) -> Indexes:
        """Index versions."""
        from .indexes import Indexes

        return Indexes(self)

    @cached_property
    def rerank(self) -> Rerankers:
        """Re-ranker versions."""
        from .reranking import Rerankers

        return Rerankers(self)

    @cached_property
    def evaluate(self) -> Evaluations:
        """Evaluations."""
        from .evaluations import Evaluations

        return Evaluations(self)

    @cached_property
    def quality(self) -> Quality:
        """Assessments."""
        from .quality import Quality

        return Quality(self)

    @cached_property
    def rules(self) -> RuleVersions:
        """Merchandising rules."""
        from .rules import RuleVersions

        return RuleVersions(self)

    @cached_property
    def gate(self) -> Gates:
        """Quality gates."""
        return Gates(self)

    @cached_property
    def experiments(self) -> Experiments:
        """Experiments on shoppers."""
        from .experiments import Experiments

        return Experiments(self)

    @property
    def lineage(self) -> LineageStore:
        """What came from what."""
        return self.registry.lineage

    @cached_property
    def bundle(self) -> Bundles:
        """Releases with their lineage in one file."""
        from .bundles import Bundles

        return Bundles(self)

    def launch(
        self,
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
        """From a catalog to recommendations in one call; with events a spoke is trained on all of them.

        `config` holds keys of `SpokeConfig`, `options` are those of `domain.add`. Without a live hub one is made from
        the packaged weights.
        """
        from .launches import launch

        given = (self, name, catalog, events)
        return launch(*given, hub=hub, k=k, config=config, description=description, dry_run=dry_run, **options)

    def launch_report(self, ref: str) -> StoredReport:
        """What the launch of a category, or of a release, reported."""
        from .launch_reports import read_report

        return read_report(self, ref)

    def refresh(
        self,
        domain: str,
        catalog: Table | None = None,
        events: Table | None = None,
        *,
        retrain: Retrain = "due",
        config: Mapping[str, Any] | None = None,
        dry_run: bool = False,
        **options: Unpack[ReadOptions],
    ) -> RefreshResult:
        """Bring what serves a category up to its newest data; a new spoke goes live where it is as good or better."""
        from .refresh import refresh

        return refresh(self, domain, catalog, events, retrain=retrain, config=config, dry_run=dry_run, **options)

    def recommend(
        self,
        ref: str,
        session: Sequence[str] = (),
        user: str | None = None,
        k: int = 10,
        exclude_seen: bool = False,
        diversity: float = 0.0,
        near: float | None = None,
        filter: str | Filter | None = None,
    ) -> Recommendations:
        """The `k` items that `ref` recommends after a session (item ids, oldest first) or to a known user."""
        from .recommendations import Recommender

        asked = _read_filter(filter)
        return Recommender(self, ref).recommend(session, user, k, exclude_seen, diversity, near, asked)

    def similar(self, ref: str, item: str, k: int = 10, filter: str | Filter | None = None) -> Recommendations:
        """The `k` items nearest to an item in the space of `ref`."""
        from .recommendations import Recommender

        asked = _read_filter(filter)
        return Recommender(self, ref).similar(item, k, asked)

    def search(
        self,
        ref: str,
        text: str | None = None,
        picture: str | None = None,
        k: int = 10,
        filter: str | Filter | None = None,
    ) -> SearchResults:
        """The `k` items whose content is most like a description, the picture in a file, or both together."""
        from .recommendations import Recommender

        asked = _read_filter(filter)
        return Recommender(self, ref).search(text, Path(picture) if picture is not None else None, k, asked)

    def explain(
        self,
        ref: str,
        session: Sequence[str] = (),
        user: str | None = None,
        k: int = 5,
        exclude_seen: bool = False,
        items: Sequence[str] = (),
        filter: str | Filter | None = None,
        diversity: float = 0.0,
        near: float | None = None,
    ) -> Explanation:
        """Why `ref` recommends what it recommends after a session or to a known user, or scores `items` as it does."""
        from .explain import explain

        return explain(self, ref, session, user, k, exclude_seen, items, _read_filter(filter), diversity, near)

    def promote(
        self,
        ref: str,
        to: str = "live",
        *,
        reason: str | None = None,
        rules: str | None = None,
        reranker: str | None = None,
        override: bool = False,
        expected: str | None = ANYTHING,
        dry_run: bool = False,
    ) -> releases.Promotion:
        """Point the alias `to` at a spoke (with its newest index), an index, a release, or a hub version.

        `rules` go along: a version, `none`, or by default those of the release that the alias points at; so does a
        `reranker`, by default the one of that release if it fits. `override` moves it although the domain's gate is not
        met. It is refused where the alias points at something else than `expected`, None for nothing.
        """
        how = {"reason": reason, "rules": rules, "reranker": reranker, "expected": expected}
        return releases.promote(self, ref, to, **how, override=override, dry_run=dry_run)

    def rollback(
        self,
        scope: str,
        alias: str = "live",
        *,
        reason: str | None = None,
        expected: str | None = ANYTHING,
        dry_run: bool = False,
    ) -> releases.Promotion:
        """Point an alias of a domain, or of `hub`, back at what it pointed at before; `expected` as in `promote`."""
        return releases.rollback(self, scope, alias, reason=reason, expected=expected, dry_run=dry_run)

    def history(self, scope: str) -> list[AliasChange]:
        """Every move of the aliases of a domain, or of `hub`, oldest first."""
        return self.registry.aliases.history(scope)

    def sql(self, text: str, limit: int | None = None, timeout: float = 60.0) -> QueryResult:
        """Answer one SQL statement that reads: at most `limit` rows, within `timeout` seconds."""
        from ..registry.query import run_sql

        return run_sql(self.registry, text, limit, timeout)

    def backup(self, file: Path, force: bool = False, dry_run: bool = False) -> backups.Backup:
        """Write a consistent copy of the registry to an SQLite file, also while others write to it."""
        return backups.back_up(self, file, force, dry_run)

    def restore(self, file: Path, dry_run: bool = True) -> backups.Restoration:
        """Copy a backup into the registry of this workspace, which must be missing or without rows."""
        return backups.restore(self, file, dry_run)

    def adopt(self, dry_run: bool = True) -> setup.Adoption:
        """Let the artifacts of the store belong to this registry from now on, whoever they belonged to."""
        return setup.adopt(self, dry_run)

    def gc(self, dry_run: bool = True, grace: timedelta = garbage.GRACE) -> garbage.Garbage:
        """Remove the artifacts that no row of the registry refers to and nobody has committed for the grace period."""
        return garbage.collect(self, dry_run, grace)

    def doctor(self, verify: bool = False, sweep: bool = False) -> doctor.Diagnosis:
        """Look whether all is in order; `verify` hashes every artifact, `sweep` removes what killed processes left."""
        return doctor.diagnose(self, verify, sweep)


def open_workspace(
    url: str | None = None,
    *,
    create: bool = False,
    progress: Progress | None = None,
    actor: str | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    **settings: Any,
) -> Workspace:
    """Open a workspace, see `hubspoke.open`; `environ` and `cwd` stand for those of the process."""
    flags = {**settings, "registry_url": url or settings.get("registry_url")}
    loaded = load_settings(flags, os.environ if environ is None else environ, cwd or current_folder())
    workspace = Workspace(loaded, progress, actor)
    if create and not workspace.exists():
        workspace.init()
    _ = workspace.registry  # opens it, so that a missing or foreign registry is told at once
    return workspace


def _read_filter(filter: str | Filter | None) -> Filter | None:
    """A filter that may be a line of text."""
    from ..retrieval.filter_text import parse_filter

    return parse_filter(filter) if isinstance(filter, str) else filter
