"""The registry's lineage: what came from what, what a change costs, what is overtaken, and how versions differ."""

from __future__ import annotations

from ...door import checked
from ..records import Parent
from ..references import Reference
from ..rows import Store, add_edges, domain_row, find_node
from .differences import Difference, difference
from .graph import Direction, Lineage, LineageTree, closure, tree
from .impact import Impact, impact
from .staleness import Staleness, staleness


@checked
class LineageStore(Store):
    """Questions about the lineage graph; a reference that points at nothing is a NotFoundError."""

    def upstream(self, ref: str | Reference) -> Lineage:
        """What made this: every node that the one referred to came from."""
        with self.database.read() as session:
            return closure(session, find_node(session, ref).id, "upstream")

    def downstream(self, ref: str | Reference) -> Lineage:
        """What was made from this: every node that came from the one referred to."""
        with self.database.read() as session:
            return closure(session, find_node(session, ref).id, "downstream")

    def show(
        self, ref: str | Reference, direction: Direction = "upstream", domains: bool = False, depth: int | None = None
    ) -> LineageTree:
        """The lineage as a tree, with the headline metric of each version; what hangs in several places opens once."""
        with self.database.read() as session:
            return tree(session, find_node(session, ref).id, direction, domains, depth)

    def impact(self, ref: str | Reference, live: bool = False) -> Impact:
        """What must be retrained, rebuilt or released again if the node referred to changes.

        A domain stands for all that was made of its data; `live` leaves out what does not serve now.
        """
        with self.database.read() as session:
            return impact(session, find_node(session, ref), live)

    def diff(self, a: str | Reference, b: str | Reference) -> Difference:
        """What differs between two versions of one kind; a UsageError where they are of two, or of one without any."""
        with self.database.read() as session:
            return difference(session, find_node(session, a), find_node(session, b))

    def staleness(self, domain: str | None = None) -> list[Staleness]:
        """What is behind in the live release of a domain, or of all that are not archived."""
        with self.database.read() as session:
            return staleness(session, None if domain is None else domain_row(session, domain).id)

    def add_edge(self, child: str, parent: Parent) -> None:
        """Record one more parent of an existing node; an edge that would close a cycle is a UsageError."""
        with self.database.write() as session:
            add_edges(session, find_node(session, child), [parent])
