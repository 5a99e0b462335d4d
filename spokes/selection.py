"""The choice of a mixture on validation: what content, trend and cold items weigh beside behaviour, policy by policy.

The heart of the method, and pure: part scores of validation users go in, weights come out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile

import numpy as np

from ..arrays import BoolArray, FloatArray
from ..catalog.sequences import Histories
from ..hub.content import ContentSpace
from .mixture import FloorSettings, Mixture, MixtureWeights
from .repeats import taken_before
from .training.validation import Validation

CONTENT_WEIGHTS = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 14.0, 20.0)
COLD_BIASES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
# Beyond them the guard alone goes.
GUARD_BIASES = (*COLD_BIASES, 2.5, 3.0, 4.0)
# Above 1 what everybody takes counts for more than demand in proportion.
TREND_WEIGHTS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
# Of what a shopper took before, in standard deviations of the scores beside it.
REPEAT_WEIGHTS = (0.125, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 16.0)
# Share of a mixture's quality that the guard may cost, and cold targets below which it has nothing to go by.
GUARD_COST = 0.05
GUARD_TARGETS = 20
# Events whose items may be held back where seen items are ranked: a session lies nearest to what it has just seen.
HELD_BACK = (0, 1, 2, 3, 5, 10, 50)
PROBE_WEIGHTS = (0.0, 2.0, 5.0, 10.0)
IMAGE_SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
# (decay, events): from the last few events, for taste that moves, to a long history, for goods that are bought again.
RECENCIES = ((0.7, 5), (0.85, 10), (0.95, 50))

Quality = Callable[[FloatArray], FloatArray]  # from (U, N) scores to what each user's list is worth, (U,)
Mix = Callable[["PartScores"], FloatArray]  # from the scores of the parts to the (U, N) scores that are ranked


@dataclass(frozen=True)
class PartScores:
    """Scores of U validation users over N items, (U, N) per part; None where a part is missing or not asked."""

    behaviour: FloatArray | None = None
    text: FloatArray | None = None
    image: FloatArray | None = None
    taken: FloatArray | None = None  # as `repeats.taken_before`, zero for what a user did not take

    def content(self, image_share: float) -> FloatArray | None:
        """(U, N) content score; a catalog with one modality ignores the share."""
        if self.text is None or self.image is None:
            return self.text if self.image is None else self.image
        return (1 - image_share) * self.text + image_share * self.image

    def lifted(self, scores: FloatArray, repeat: float) -> FloatArray:
        """(U, N) scores with a weight for what was taken before."""
        return scores if self.taken is None or not repeat else scores + np.float32(repeat) * self.taken


@dataclass(frozen=True)
class Trial:
    """Validation users on whom mixtures are tried, block by block: the scores of one block are held at a time."""

    # The part scores of each block's users and the measure of their lists, in the same order in every call.
    blocks: Callable[[], Iterable[tuple[PartScores, Quality]]]
    text: bool = False  # whether there are text scores
    image: bool = False  # likewise for pictures
    taken: bool = False  # whether what users took before counts

    def __call__(self, mixes: Sequence[Mix]) -> list[FloatArray]:
        """The (U,) per-user quality of each mixture; all of them in one pass over the users."""
        found = [[quality(mix(scores)) for mix in mixes] for scores, quality in self.blocks()]
        return [np.concatenate(own) for own in zip(*found, strict=True)]

    def spread(self, mix: Mix) -> float:
        """Standard deviation of a user's scores over the catalog, the mean of all users."""
        return float(np.concatenate([mix(scores).std(axis=1) for scores, _ in self.blocks()]).mean())


@dataclass(frozen=True)
class CatalogContent:
    """The (N, R) content embeddings of a catalog in its space, text columns first."""

    vectors: FloatArray
    space: ContentSpace

    @property
    def pictured(self) -> bool:
        """Whether there are image columns."""
        return self.space.image_rank > 0

    def scores(self, histories: Histories, settings: FloorSettings) -> PartScores:
        """Text and image scores of sessions that are read with these settings."""
        queries = settings.reader(self.space).read(self.vectors, histories)  # (U, R)
        cut = self.space.text_rank
        text = queries[:, :cut] @ self.vectors[:, :cut].T if cut else None
        image = queries[:, cut:] @ self.vectors[:, cut:].T if self.pictured else None
        return PartScores(None, text, image)


@dataclass(frozen=True)
class Selection:
    """The choices that one training makes on its validation."""

    content: CatalogContent
    # How the hub reads a session, with seen items ranked and with seen items filtered; kept unless something is better.
    defaults: tuple[FloorSettings, FloorSettings]
    # Whether validation asks what the test does. Where it does not, nothing is learned about what returns at once, and
    # no event is held back.
    as_tested: bool

    def checkpoint_score(self, users: Validation) -> Callable[[FloatArray], float]:
        """What checkpoints are compared by: from (U, N) behaviour scores to the quality beside the best content."""
        # What nobody takes again at once would stand first in most lists and tell nothing of a checkpoint.
        held_back = int(self.as_tested and not users.returns_at_once)
        settings = self._floor(users, users.filter_seen, held_back)
        content = self.content.scores(users.histories, settings).content(settings.image_share)
        quality = partial(users.ndcg, filter_seen=users.filter_seen, held_back=held_back)
        return lambda behaviour: probe(behaviour, content, quality)

    def mixture(
        self,
        users: Validation,
        sessions: FloatArray,  # (U, D) what trained behaviour says of their histories
        items: FloatArray,  # (N, D) and of the items
        cold: BoolArray,  # (N,) items without an ID residual of their own
        trends: Mapping[int, FloatArray],  # (N,) how often items were taken lately, by the days that are meant by it
    ) -> Mixture:
        """The weights for both serving policies."""
        of_cold, rows = users.asked_for(cold)
        chosen, returns = [], users.returns
        for filter_seen in (False, True):
            held_back, repeats = 0, returns and not filter_seen
            if self.as_tested and not filter_seen:
                alone = {n: self._trial(users, False, n, behaviour=(sessions, items)) for n in HELD_BACK}
                held_back = choose_held_back(alone)
            settings = self._floor(users, filter_seen, held_back)
            trial = self._trial(users, filter_seen, held_back, settings, (sessions, items), repeats)
            guard = None
            if len(rows):
                asked = sessions[rows], items
                guard = self._trial(of_cold, filter_seen, held_back, settings, asked, repeats)
            weights = choose_weights(trial, settings, cold, guard, trends)
            chosen.append(weights.model_copy(update={"held_back": held_back}))
        return Mixture(seen_ranked=chosen[0], seen_filtered=chosen[1])

    def _floor(self, users: Validation, filter_seen: bool, held_back: int) -> FloorSettings:
        default = self.defaults[filter_seen]
        ways = ways_to_read(default, *self.defaults)
        return choose_floor([(own, self._trial(users, filter_seen, held_back, own)) for own in ways], default)

    def _trial(
        self,
        users: Validation,
        filter_seen: bool,
        held_back: int,
        settings: FloorSettings | None = None,  # that content is read with; None leaves it out
        behaviour: tuple[FloatArray, FloatArray] | None = None,  # (U, D) sessions and (N, D) items, likewise
        repeats: bool = False,  # whether what users took before counts
    ) -> Trial:
        def blocks() -> Iterator[tuple[PartScores, Quality]]:
            done = 0
            for block in users.blocks():
                size = len(block.users)
                scores = PartScores() if settings is None else self.content.scores(block.histories, settings)
                if behaviour is not None:
                    sessions, items = behaviour
                    scores = replace(scores, behaviour=sessions[done : done + size] @ items.T)
                if repeats:
                    scores = replace(scores, taken=_taken(block))
                yield scores, partial(block.ndcg, filter_seen=filter_seen, held_back=held_back)
                done += size

        read = settings is not None
        text, image = read and self.content.space.text_rank > 0, read and self.content.pictured
        return Trial(blocks, text, image, taken=repeats)


def ways_to_read(default: FloorSettings, *others: FloorSettings) -> list[FloorSettings]:
    """The default, then the others and the recencies, each once."""
    plain = [replace(default, recency_decay=decay, recent_events=events, reading=None) for decay, events in RECENCIES]
    found = [default]
    for own in (*others, *plain):
        if own not in found:
            found.append(own)
    return found


def choose_floor(trials: Sequence[tuple[FloorSettings, Trial]], default: FloorSettings) -> FloorSettings:
    """The reading and the share of pictures with which content alone ranks best.

    The default is kept unless that is better by more than a standard error: among so many, few users prefer one by
    chance.
    """
    found: list[tuple[FloorSettings, FloatArray]] = []
    for own, trial in trials:
        if not (trial.text or trial.image):
            continue
        tried = {default.image_share, *IMAGE_SHARES} if trial.text and trial.image else {default.image_share}
        shares = sorted(tried, key=lambda share: (abs(share - default.image_share), share))
        qualities = trial([_content(share) for share in shares])
        found += [(replace(own, image_share=share), quality) for share, quality in zip(shares, qualities, strict=True)]
    if not found:
        return default
    best, quality = found[_best([own for _, own in found])]
    known = next((own for settings, own in found if settings == default), None)
    return default if known is not None and _within_one_error(quality, known) else best


def choose_held_back(trials: Mapping[int, Trial]) -> int:
    """The fewest events to hold back with which behaviour alone, tried with each number, ranks targets best."""
    qualities = {events: float(trial([_mixed(0.0, 0.0)])[0].mean()) for events, trial in trials.items()}
    return max(sorted(trials), key=lambda events: qualities[events])


def choose_weights(
    trial: Trial,  # with behaviour's scores and content's
    settings: FloorSettings,  # how content read a session for them
    cold: BoolArray,  # (N,) true for items without an ID residual of their own
    guard: Trial | None = None,  # the users who took a cold item, asked for their cold targets alone
    trends: Mapping[int, FloatArray] | None = None,  # (N,) how often items were taken in so many last days; 0 for all
) -> MixtureWeights:
    """The weights that rank validation targets best, leaning towards content and towards cold items."""
    # These carry items that have few events, and tomorrow there are more of those than among today's targets.
    share, known = settings.image_share, trial.text or trial.image
    # Where nothing speaks for or against a weight, the largest would be taken on no evidence at all.
    weights, biases = CONTENT_WEIGHTS if known else (0.0,), GUARD_BIASES if cold.any() else (0.0,)

    def mixed(value: float, lately: FloatArray | None = None, repeat: float = 0.0) -> Mix:
        return _mixed(share, value, lately, repeat)

    # First what was taken before, then the trend: the best one of each, beside no content or the content weight that is
    # best without it.
    beside, repeat = trial([mixed(value) for value in weights]), 0.0
    if trial.taken:
        contents = sorted({0.0, weights[_best(beside)]})
        repeat = _choose_repeat(trial, lambda own: [mixed(value, None, own) for value in contents])
        beside = trial([mixed(value, None, repeat) for value in weights])
    contents, trends = sorted({0.0, weights[_best(beside)]}), trends or {}
    tried = [(0.0, 0), *((value, days) for days in trends for value in TREND_WEIGHTS)]
    bonuses = [np.float32(value) * trends[days] if value else None for value, days in tried]
    nth = _best(trial([mixed(value, own, repeat) for own in bonuses for value in contents])) if trends else 0
    (trend, days), lately = tried[nth // len(contents)], bonuses[nth // len(contents)]
    # Then the content weight: of those near the best, the largest. What was taken before is weighed anew beside it.
    if lately is not None:
        beside = trial([mixed(value, lately, repeat) for value in weights])
    weight, _ = _largest_within_error(weights, beside)
    repeat = _choose_repeat(trial, lambda own: [mixed(weight, lately, own)])

    def mix(bias: float) -> Mix:
        bonus = np.float32(bias) * cold.astype(np.float32)
        return mixed(weight, bonus if lately is None else bonus + lately, repeat)

    # Then the cold bias by the same rule; content alone where no mixture is better by more than a standard error: few
    # users prefer some mixture by chance, and what it then does to others is no chance.
    biased = {value: mix(value) for value in biases}
    alone = _choose_repeat(trial, lambda own: [_content(share, own)]) if known else 0.0
    found = trial([*biased.values(), *([_content(share, alone)] if known else [])])
    free = [(value, own) for value, own in zip(biases, found, strict=False) if value in COLD_BIASES]
    bias, quality = _largest_within_error(*zip(*free, strict=True))
    if known and _within_one_error(max((own for _, own in free), key=np.mean), found[-1]):
        return settings.weights(behaviour=0.0, content=1.0).model_copy(update={"repeat": alone})
    # Then the guard: the bias rises until cold targets are ranked as content alone ranks them, if that is cheap.
    if known and guard is not None:
        whole = {value: float(own.mean()) for value, own in zip(biases, found, strict=False)}
        bias = _guard(bias, quality, whole, guard, biased, _content(share))
    chosen = settings.weights(behaviour=1.0, content=weight, cold=bias)
    return chosen.model_copy(update={"trend": trend, "trend_days": days, "repeat": repeat})


def _choose_repeat(trial: Trial, mixed: Callable[[float], Sequence[Mix]]) -> float:
    """The weight of what was taken before with which the best of the mixtures that `mixed` makes of it ranks best."""
    if not trial.taken:
        return 0.0
    before = mixed(0.0)
    unit = trial.spread(before[-1])
    tried = [0.0, *(value * unit for value in REPEAT_WEIGHTS)]
    return tried[_best(trial([mix for value in tried for mix in mixed(value)])) // len(before)]


def _taken(users: Validation) -> FloatArray:
    """(U, N) what each user took before."""
    found = np.zeros((len(users.users), users.users.n_items), np.float32)
    for own, history in zip(found, users.histories, strict=True):
        rows, values = taken_before(history)
        own[rows] = values
    return found


def _content(image_share: float, repeat: float = 0.0) -> Mix:
    def mix(scores: PartScores) -> FloatArray:
        content = scores.content(image_share)
        assert content is not None
        return scores.lifted(content, repeat)

    return mix


def _mixed(image_share: float, weight: float, bonus: FloatArray | None = None, repeat: float = 0.0) -> Mix:
    """Behaviour, weighted content, (N,) bonuses that do not depend on the session, and what was taken before."""

    def mix(scores: PartScores) -> FloatArray:
        assert scores.behaviour is not None
        content = scores.content(image_share) if weight else None
        mixed = scores.behaviour if content is None else scores.behaviour + np.float32(weight) * content
        return scores.lifted(mixed if bonus is None or not bonus.any() else mixed + bonus, repeat)

    return mix


def _guard(
    bias: float, best: float, qualities: Mapping[float, float], guard: Trial, mixes: Mapping[float, Mix], floor: Mix
) -> float:
    """The smallest bias from `bias` on with which the users of cold targets get what the floor gives them."""
    tried = [value for value in mixes if value >= bias]
    paid = list(takewhile(lambda value: qualities[value] >= (1 - GUARD_COST) * best, tried))
    alone, *found = guard([floor, *(mixes[value] for value in paid)])
    if len(alone) < GUARD_TARGETS or not paid:
        return bias
    enough = [value for value, quality in zip(paid, found, strict=True) if quality.mean() >= alone.mean()]
    if enough:
        return enough[0]
    # Else the one that gives them most, if by more than a standard error: nothing is paid for nothing.
    most = _best(found)
    return bias if _within_one_error(found[most], found[0]) else paid[most]


def probe(
    behaviour: FloatArray, content: FloatArray | None, quality: Quality, weights: Sequence[float] = PROBE_WEIGHTS
) -> float:
    """Quality of the best of a few mixtures of (U, N) behaviour and content scores."""
    if content is None:
        return float(quality(behaviour).mean())
    return max(float(quality(behaviour + weight * content).mean()) for weight in weights)


def _largest_within_error(values: Sequence[float], qualities: Sequence[FloatArray]) -> tuple[float, float]:
    """The largest value whose (U,) quality is near that of the best one, and the best quality.

    Near: within one standard error, paired by user (Breiman et al., 1984), and, for few users, within `GUARD_COST`.
    """
    best = qualities[_best(qualities)]
    least = (1 - GUARD_COST) * best.mean()
    near = [v for v, own in zip(values, qualities, strict=True) if own.mean() >= least and _within_one_error(best, own)]
    return max(near), float(best.mean())


def _best(qualities: Sequence[FloatArray]) -> int:
    return int(np.argmax([quality.mean() for quality in qualities]))


def _within_one_error(best: FloatArray, other: FloatArray) -> bool:
    difference = best - other
    error = difference.std(ddof=1) / len(difference) ** 0.5 if len(difference) > 1 else 0.0
    return bool(difference.mean() <= error)
