"""A recommender agrees with people where it ranks what they found good before what they found bad."""

from types import SimpleNamespace

from hubspoke.registry.records import JudgementRecord
from hubspoke.workflows.judgements import agreement


class Ranked:
    """Ranks items by their names; what begins with `x` may not be shown."""

    ref = "garden"

    def rank(self, _: object, items: list[str]) -> SimpleNamespace:
        shown = sorted(item for item in items if not item.startswith("x"))
        return SimpleNamespace(items=[{"item_id": item, "rank": n} for n, item in enumerate(shown, 1)])


def judged(*verdicts: tuple[str, bool], session: tuple[str, ...] = ("s",)) -> list[JudgementRecord]:
    return [JudgementRecord("garden", "garden:1", session, item, good, "ann", None) for item, good in verdicts]  # type: ignore[arg-type]


def test_pairs_of_one_session_are_compared() -> None:
    # a before b and c: of (a, b), (a, c), (d, b), (d, c) two are in order.
    found = agreement(Ranked(), judged(("a", True), ("d", True), ("b", False), ("c", False)))  # type: ignore[arg-type]
    assert (found.judged, found.good, found.pairs, found.agreed) == (4, 2, 4, 0.5)
    # Of other sessions nothing is compared; two that may not be shown are equal.
    apart = judged(("a", True)) + judged(("b", False), session=("t",))
    assert agreement(Ranked(), apart).agreed is None  # type: ignore[arg-type]
    assert agreement(Ranked(), judged(("x1", True), ("x2", False))).agreed == 0.5  # type: ignore[arg-type]
