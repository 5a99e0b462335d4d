"""A forked child and the connections of its parent: it opens its own, and neither uses nor closes the parent's."""

from __future__ import annotations

from sqlalchemy import Engine, Pool

# Pools of the parent. They are held, as a connection that is let go says goodbye to the server, for both processes.
_of_parents: list[Pool] = []


def leave_connections(engine: Engine) -> None:
    """Let an engine begin with a new pool; to be called in the child."""
    _of_parents.append(engine.pool)
    engine.dispose(close=False)
