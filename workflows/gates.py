"""Quality gates: what a version must have shown before an alias of its domain may point at it.

A gate is a list of conditions, each complete in itself and kept in the registry as plain JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..errors import UsageError
from ..evaluation.protocols import Protocol
from ..evaluation.slices import SLICES
from ..registry.references import LIVE, check_alias

# Of the metrics only coverage belongs to no single user, so only it cannot be paired.
_METRIC = r"((hr|recall|ndcg)@[1-9][0-9]{0,4}|mrr|coverage@100)"
_NOT_PER_USER = "coverage@100"


class GateProtocol(BaseModel):
    """How the evaluations that count were measured, on the test part; the fields are those of `Protocol`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["leave-one-out", "temporal"] = "leave-one-out"
    exclude_seen: bool = False
    test_from: AwareDatetime | None = None
    test_until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _usable(self) -> Self:
        self.full()
        return self

    def full(self) -> Protocol:
        """The protocol with everything that a gate leaves at its default."""
        return Protocol(**self.model_dump())


class _Condition(BaseModel):
    """What every condition says: a metric, the slice of targets it is taken on, how, and which aliases it guards."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str = Field(pattern=f"^{_METRIC}$")
    slice: str = "all"
    protocol: GateProtocol = GateProtocol()
    aliases: tuple[str, ...] = Field(default=(LIVE,), min_length=1)

    @field_validator("slice")
    @classmethod
    def _known_slice(cls, name: str) -> str:
        if name not in SLICES:
            raise ValueError(f"there is no slice {name!r}; choose one of {', '.join(SLICES)}")
        return name

    @field_validator("aliases")
    @classmethod
    def _named_well(cls, aliases: tuple[str, ...]) -> tuple[str, ...]:
        for alias in aliases:
            try:
                check_alias(alias)
            except UsageError as error:
                raise ValueError(str(error).rstrip(".")) from error
        return aliases

    @property
    def measure(self) -> str:
        """Metric and slice for people: `ndcg@10`, `ndcg@10 on cold`."""
        return self.metric if self.slice == "all" else f"{self.metric} on {self.slice}"


class Minimum(_Condition):
    """The mean of the metric is at least `value`."""

    kind: Literal["minimum"] = "minimum"
    value: float = Field(ge=0, le=1)


class MaxDrop(_Condition):
    """The metric is lower than that of the version in service by `value` at most.

    That is so where the interval of the difference, at the level `confidence`, does not reach below `-value`.
    """

    kind: Literal["max_drop"] = "max_drop"
    value: float = Field(ge=0, le=1)
    confidence: float = Field(default=0.95, ge=0.5, lt=1)

    @field_validator("metric")
    @classmethod
    def _per_user(cls, metric: str) -> str:
        if metric == _NOT_PER_USER:
            raise ValueError(f"{metric} is no metric of single users, so no difference of it can be tested")
        return metric


Condition = Annotated[Minimum | MaxDrop, Field(discriminator="kind")]


class Gate(BaseModel):
    """Conditions that must all hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    conditions: tuple[Condition, ...]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        named = [(c.kind, c.measure, c.protocol) for c in self.conditions]
        twice = next((name for name in named if named.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice[0]} of {twice[1]} is given twice; give each condition once")
        return self

    def to_json(self) -> list[dict[str, Any]]:
        """The conditions as the registry keeps them."""
        return [condition.model_dump(mode="json") for condition in self.conditions]

    def guarding(self, alias: str) -> tuple[Condition, ...]:
        """The conditions that hold for an alias."""
        return tuple(condition for condition in self.conditions if alias in condition.aliases)


def parse_gate(conditions: Sequence[Mapping[str, Any]]) -> Gate:
    """The gate that plain conditions spell.

    Raises:
        UsageError: an unknown key, metric, slice or protocol, or a value out of bounds.
    """
    try:
        return Gate.model_validate({"conditions": conditions})
    except ValidationError as error:
        problems = "; ".join(dict.fromkeys(_problem(e) for e in error.errors()))
        raise UsageError(f"The gate is not usable ({problems}); correct these conditions.") from error


def _problem(error: Any) -> str:
    # Of the path (conditions, 0, minimum, value) only the last name says something to a person.
    names = [part for part in error["loc"] if isinstance(part, str)]
    where = names[-1] if len(names) > 1 else "gate"
    return f"{where}: {str(error['msg']).removeprefix('Value error, ').rstrip('.')}"
