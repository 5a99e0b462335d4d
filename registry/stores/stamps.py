"""The stamps that a registry has put on artifact stores: who it is, and how far it has come.

A stamp is written here before it is written into a store's mark, so whoever lacks the stamp of a mark is not the
registry that wrote it, but another, or a copy that was made before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import select

from ..artifacts.marks import Mark
from ..rows import Store, now
from ..schema import StoreStamp


class StampStore(Store):
    """The stamps of one registry."""

    def identity(self) -> str | None:
        """The first stamp, which every copy of the registry shares; None before there is one."""
        with self.database.read() as session:
            return session.scalar(select(StoreStamp.stamp).order_by(StoreStamp.number).limit(1))

    def holds(self, stamp: str) -> bool:
        """Whether a stamp is this registry's."""
        with self.database.read() as session:
            return session.scalar(select(StoreStamp.number).where(StoreStamp.stamp == stamp)) is not None

    def add(self) -> None:
        """Make a new stamp."""
        with self.database.write() as session:
            session.add(StoreStamp(at=now()))

    @contextmanager
    def newest(self) -> Iterator[Mark]:
        """The mark with the newest stamp, while nobody else can make a newer one."""
        with self.database.write() as session:
            stamps = select(StoreStamp.stamp)
            identity = session.scalars(stamps.order_by(StoreStamp.number).limit(1)).one()
            yield Mark(identity, session.scalars(stamps.order_by(StoreStamp.number.desc()).limit(1)).one())
