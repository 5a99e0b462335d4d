"""The workspace: one registry, one artifact store, one cache, and the nouns that work on them.

Everything beyond the registry is imported when it is first used, so that a question to the registry loads no torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack

from ..progress import Progress
from ..settings import load_settings
from .context import Context

if TYPE_CHECKING:
    from ..registry.lineage.store import LineageStore
    from ..registry.query import QueryResult
    from ..registry.records import AliasChange
    from .backups import Backup, Restoration
    from .bundles import Bundles
    from .data import Data
    from .datasets import Table
    from .doctor import Diagnosis
    from .domains import Domains
    from .evaluations import Evaluations
    from .explain import Explanation
    from .garbage import Garbage
    from .gates import Gates
    from .hubs import Hubs
    from .indexes import Indexes
    from .ingest import ReadOptions
    from .launches import LaunchResult
    from .recommendations import Recommendations
    from .releases import Promotion
    from .rules import RuleVersions
    from .setup import InitResult, SchemaState
    from .spokes import Spokes


class Workspace(Context):
    """An open workspace: its context with the nouns on it; closing it (or leaving `with`) closes the registry."""

    def __enter__(self) -> Workspace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def exists(self) -> bool:
        """Whether there is a registry, of whatever schema."""
        from .setup import current_schema

        return current_schema(self) is not None

    def init(self, dry_run: bool = False) -> InitResult:
        """Make the folders and the registry where they are missing, and bring the registry's schema up to date."""
        from .setup import init

        return init(self, dry_run)

    def schema(self) -> SchemaState:
        """The registry's schema, whether or not this code can work with it."""
        from .setup import schema_state

        return schema_state(self)

    @cached_property
    def domain(self) -> Domains:
        """Product categories."""
        from .domains import Domains

        return Domains(self)

    @cached_property
    def data(self) -> Data:
        """Snapshots of items and events."""
        from .data import Data

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
    def evaluate(self) -> Evaluations:
        """Evaluations."""
        from .evaluations import Evaluations

        return Evaluations(self)

    @cached_property
    def rules(self) -> RuleVersions:
        """Merchandising rules."""
        from .rules import RuleVersions

        return RuleVersions(self)

    @cached_property
    def gate(self) -> Gates:
        """Quality gates."""
        from .gates import Gates

        return Gates(self)

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

        Args:
            name: the category, new or known.
            catalog: item file or table.
            events: event file or table.
            hub: hub version; by default the live one, made untrained from packaged weights where there is none.
            k: recommendations shown for each of a few items.
            config: keys of `SpokeConfig`.
            description: one line for people, of a new category.
            dry_run: check the data, change nothing.
            options: how the tables are read, as of `domain.add`.

        Raises:
            InvalidDataError: the data cannot be used.
            QualityGateError: the category's gate refuses it, and nothing is live there.
        """
        from .launches import launch

        return launch(
            self,
            name,
            catalog,
            events,
            hub=hub,
            k=k,
            config=config,
            description=description,
            dry_run=dry_run,
            **options,
        )

    def recommend(
        self, ref: str, session: Sequence[str] = (), user: str | None = None, k: int = 10, exclude_seen: bool = False
    ) -> Recommendations:
        """The `k` items that `ref` recommends after a session (item ids, oldest first) or to a known user."""
        from .recommendations import Recommender

        return Recommender(self, ref).recommend(session, user, k, exclude_seen)

    def similar(self, ref: str, item: str, k: int = 10) -> Recommendations:
        """The `k` items nearest to an item in the space of `ref`."""
        from .recommendations import Recommender

        return Recommender(self, ref).similar(item, k)

    def explain(
        self,
        ref: str,
        session: Sequence[str] = (),
        user: str | None = None,
        k: int = 5,
        exclude_seen: bool = False,
        items: Sequence[str] = (),
    ) -> Explanation:
        """Why `ref` recommends what it recommends after a session or to a known user, or scores `items` as it does."""
        from .explain import explain

        return explain(self, ref, session, user, k, exclude_seen, items)

    def promote(
        self,
        ref: str,
        to: str = "live",
        *,
        reason: str | None = None,
        rules: str | None = None,
        override: bool = False,
        first: bool = False,
        dry_run: bool = False,
    ) -> Promotion:
        """Point the alias `to` at a spoke, index or release of a domain, or at a hub version.

        Args:
            ref: a spoke, which comes with its newest index, an index, a release or a hub version.
            to: the alias.
            reason: why, for the history.
            rules: version of the merchandising rules to release along; by default those of the release that the
                alias points at, `none` for none.
            override: move it although the domain's gate is not met; the history keeps what was overruled.
            first: only where the alias points at nothing yet.
            dry_run: only say what would be done.

        Raises:
            QualityGateError: the domain's gate is not met.
            LockedError: another process moved the alias or changed the gate meanwhile.
        """
        from .releases import promote

        return promote(self, ref, to, reason=reason, rules=rules, override=override, first=first, dry_run=dry_run)

    def rollback(
        self, scope: str, alias: str = "live", *, reason: str | None = None, dry_run: bool = False
    ) -> Promotion:
        """Point an alias of a domain, or of `hub`, back at what it pointed at before."""
        from .releases import rollback

        return rollback(self, scope, alias, reason=reason, dry_run=dry_run)

    def history(self, scope: str) -> list[AliasChange]:
        """Every move of the aliases of a domain, or of `hub`, oldest first."""
        return self.registry.aliases.history(scope)

    def sql(self, text: str, limit: int | None = None, timeout: float = 60.0) -> QueryResult:
        """Answer one SQL statement that reads: at most `limit` rows, within `timeout` seconds."""
        from ..registry.query import run_sql

        return run_sql(self.registry, text, limit, timeout)

    def backup(self, file: Path, force: bool = False, dry_run: bool = False) -> Backup:
        """Write a consistent copy of the registry to an SQLite file, also while others write to it."""
        from .backups import back_up

        return back_up(self, file, force, dry_run)

    def restore(self, file: Path, dry_run: bool = True) -> Restoration:
        """Copy a backup into the registry of this workspace, which must be missing or without rows."""
        from .backups import restore

        return restore(self, file, dry_run)

    def gc(self, dry_run: bool = True, grace: timedelta = timedelta(hours=24)) -> Garbage:
        """Remove the artifacts that no row of the registry refers to and nobody has committed for the grace period."""
        from .garbage import collect

        return collect(self, dry_run, grace)

    def doctor(self, verify: bool = False, sweep: bool = False) -> Diagnosis:
        """Look whether everything that the package needs is in order."""
        from .doctor import diagnose

        return diagnose(self, verify, sweep)


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
    """Open a workspace.

    Args:
        url: database of the registry; by default the one that the settings name.
        create: make the workspace where there is none.
        progress: told how far a workflow is.
        actor: who promotes and rolls back, in the histories.
        environ: environment to read settings from instead of the process's.
        cwd: folder to read settings from, and to resolve paths against, instead of the current one.
        settings: any field of `Settings`; None does not count as given.

    Raises:
        UsageError: an unknown setting or a wrong value.
        NotFoundError: there is no workspace, and `create` is off.
        SchemaVersionError: its schema is older or newer than this code.
    """
    flags = {**settings, "registry_url": url or settings.get("registry_url")}
    loaded = load_settings(flags, os.environ if environ is None else environ, cwd or Path.cwd())
    workspace = Workspace(loaded, progress, actor)
    if create and not workspace.exists():
        workspace.init()
    _ = workspace.registry  # opens it, so that a missing or foreign registry is told at once
    return workspace
