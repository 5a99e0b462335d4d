"""The pages, one module and one template each; every module has a `router`."""

from __future__ import annotations

from . import category, data, experiment, item, map, node, overview, pictures, quality, release, rules, sign_in, try_it

PAGES = (overview, category, release, experiment, try_it, node, data, rules, map, quality, item, pictures, sign_in)
ROUTERS = tuple(own.router for own in PAGES)
