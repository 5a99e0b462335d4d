"""The routes, one file per noun; each file has a `router` whose routes are written with their whole path."""

from __future__ import annotations

from . import domains, events, health, items, lineage, recommend, releases

ROUTERS = (
    health.router,
    domains.router,
    recommend.router,
    items.router,
    events.router,
    releases.router,
    lineage.router,
)
