"""What a spoke inherits: a policy names the parts, and the verdict says in words what each was worth.

From the hub a spoke may take what its encoders say of text and of pictures, its learned fusion and how it reads a
session; from a sibling, a spoke of another category, its attribute encoder and its behaviour.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ..arrays import DoubleArray
from ..errors import UsageError
from ..evaluation.bootstrap import Estimate, paired_difference
from .config import MODALITIES

FROM_HUB = ("text", "image", "fusion", "scorer")
FROM_SIBLING = ("attributes", "behaviour")
PARTS = (*FROM_HUB, *FROM_SIBLING)
# Keys of a spoke's config that a policy decides.
DECIDED = ("content", "hub_fusion", "hub_scorer")
NONE, FULL, AUTO = "none", "full", "auto"
SLICES = ("all", "warm", "cold")
# Users of warm or cold targets below which nothing is told of these: an interval of so few says nothing.
LEAST_USERS = 20

UserValues: TypeAlias = Mapping[str, Mapping[str, float]]  # by slice, what each user got


@dataclass(frozen=True)
class Policy:
    """Parts that are inherited, in the order of `PARTS`; all others start from scratch."""

    parts: tuple[str, ...] = ()

    @classmethod
    def of(cls, parts: Iterable[str]) -> Policy:
        """The policy of some parts; without text and pictures there is nothing to fuse and no session to read."""
        named = set(parts)
        if unknown := sorted(named - set(PARTS)):
            raise UsageError(
                f"There is no part {unknown[0]!r} to inherit; join some of {', '.join(PARTS)} with +, or give {AUTO}, "
                f"{NONE} or {FULL}."
            )
        idle = named & {"fusion", "scorer"}
        if idle and not named & set(MODALITIES):
            raise UsageError(f"{' and '.join(sorted(idle))} without content is nothing; name text or image too.")
        return cls(tuple(part for part in PARTS if part in named))

    @classmethod
    def parse(cls, text: str) -> Policy:
        """The policy that `str` writes: `none`, `full`, or parts joined by `+`."""
        if text in (NONE, FULL):
            return cls.of(PARTS if text == FULL else ())
        return cls.of(part.strip() for part in text.split("+"))

    def __str__(self) -> str:
        return "+".join(self.parts) or NONE

    def __contains__(self, part: str) -> bool:
        return part in self.parts

    def plus(self, part: str) -> Policy:
        """The same with one part more."""
        return Policy.of([*self.parts, part])

    @property
    def from_sibling(self) -> tuple[str, ...]:
        """The parts that another category's spoke is asked for."""
        return tuple(part for part in self.parts if part in FROM_SIBLING)

    @property
    def config(self) -> dict[str, Any]:
        """Keys of `SpokeConfig` that follow; without content items are told apart by attributes and IDs."""
        content = [name for name in MODALITIES if name in self]
        read: dict[str, Any] = {"attributes": {}} if "attributes" in self or not content else {}
        return {"content": content, "hub_fusion": "fusion" in self, "hub_scorer": "scorer" in self, **read}


def effects(with_part: UserValues, without: UserValues) -> dict[str, Estimate | None]:
    """By slice, the mean difference that a part makes, paired by user, with its 95 % interval.

    None without users, of warm and cold targets below `LEAST_USERS`.
    """
    found: dict[str, Estimate | None] = {}
    for name in SLICES:
        pairs = paired(with_part, without, name)
        found[name] = paired_difference(*pairs) if len(pairs[0]) >= (1 if name == "all" else LEAST_USERS) else None
    return found


def paired(a: UserValues, b: UserValues, name: str = "all") -> tuple[DoubleArray, DoubleArray]:
    """What the users of a slice that both have got in each."""
    ours, theirs = a.get(name, {}), b.get(name, {})
    users = [user for user in ours if user in theirs]
    return np.array([ours[user] for user in users]), np.array([theirs[user] for user in users])


def worth_taking(with_part: UserValues, without: UserValues, expected: bool) -> bool:
    """Whether a part is inherited, by the mean difference over all users and its standard error.

    What is `expected` to help is taken unless it is worse by more than one standard error, anything else only where it
    is better by more than one (Breiman et al., 1984) and is no negative transfer on warm or on cold items.
    """
    ours, theirs = paired(with_part, without)
    if not len(ours):
        return expected
    change = ours - theirs
    mean, error = float(change.mean()), float(change.std()) / math.sqrt(len(change))
    if expected:
        return mean >= -error
    return mean > error and not any(own and own.high < 0 for own in effects(with_part, without).values())


def verdict(part: str, inherited: bool, found: Mapping[str, Estimate | None]) -> str:
    """What a part was worth, in words: `text, inherited: helps cold items (+.0213 [.0150, .0280]), neutral on ...`."""
    told = ", ".join(_on_slice(name, found.get(name)) for name in ("cold", "warm"))
    return f"{part}, {'inherited' if inherited else 'left out'}: {told}"


def _on_slice(name: str, effect: Estimate | None) -> str:
    if effect is None:
        return f"too few {name} items to tell by"
    figures = f"({_short(effect.value, sign=True)} [{_short(effect.low)}, {_short(effect.high)}])"
    if effect.low > 0:
        return f"helps {name} items {figures}"
    return f"negative transfer on {name} items {figures}" if effect.high < 0 else f"neutral on {name} items {figures}"


def _short(value: float, sign: bool = False) -> str:
    return f"{value:{'+' if sign else ''}.4f}".replace("0.", ".", 1)
