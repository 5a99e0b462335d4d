"""The conditions of a gate, as plain data spells them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from ..errors import UsageError
from ..evaluation.catalogue import Definition, Direction, find
from ..evaluation.protocols import Protocol
from ..evaluation.slices import BRAND, CATEGORY, LENGTH, PRICE, SLICES
from ..registry.references import LIVE

if TYPE_CHECKING:
    pass

# What a gate says of a protocol; it is judged on the test part, whatever the list lengths and refits.
_GATED: Final = {"name", "exclude_seen", "test_from", "test_until"}
# Parts of item vectors, which a space is measured by beside slices of the items.
BLOCKS = ("behaviour", "content", "text", "image", "attributes")
# Names of slices by what a catalog says begin with one of these and a colon.
CATALOG_SLICES = (CATEGORY, BRAND, PRICE, LENGTH)


class _Condition(BaseModel):
    """What every condition says: a metric, the slice of targets it is taken on, how, and which aliases it guards."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    slice: str = "all"
    protocol: Protocol = Protocol()  # of a ranking; an assessment has its own
    aliases: tuple[str, ...] = Field(default=(LIVE,), min_length=1)

    @field_validator("metric")
    @classmethod
    def _defined(cls, metric: str) -> str:
        if find(metric) is None:
            raise ValueError(
                f"there is no metric {metric!r}; docs/assessment.md lists them, such as ndcg@10 or hubness"
            )
        return metric

    @model_validator(mode="after")
    def _of_a_known_slice(self) -> Self:
        by, colon, _ = self.slice.partition(":")
        known = SLICES if self.ranked else ("all", *BLOCKS, *SLICES[1:])
        if self.slice not in known and not (self.ranked and colon and by in CATALOG_SLICES):
            raise ValueError(f"there is no slice {self.slice!r} of {self.metric}; name one of {', '.join(known)}")
        return self

    @field_validator("protocol")
    @classmethod
    def _of_a_gate(cls, protocol: Protocol) -> Protocol:
        if protocol != Protocol(**protocol.model_dump(include=_GATED)):
            raise ValueError(f"a gate goes by {', '.join(sorted(_GATED))} alone; leave out the rest of the protocol")
        return protocol

    @field_serializer("protocol", when_used="json")
    def _gated(self, protocol: Protocol) -> dict[str, Any]:
        return protocol.model_dump(mode="json", include=_GATED)

    @property
    def definition(self) -> Definition:
        """What the metric is."""
        found = find(self.metric)
        assert found is not None  # a condition on anything else is not made
        return found

    @property
    def ranked(self) -> bool:
        """Whether an evaluation by ranking says it; else an assessment does."""
        return self.definition.dimension == "downstream"

    @property
    def how(self) -> str:
        """How it is measured, in words."""
        return self.protocol.describe() if self.ranked else "assessment"

    @property
    def measure(self) -> str:
        """Metric and slice for people: `ndcg@10`, `ndcg@10 on cold`."""
        return self.metric if self.slice == "all" else f"{self.metric} on {self.slice}"


class _Bound(_Condition):
    """The metric itself is held to a value, from the side where less good ones are."""

    better: ClassVar[Direction]

    value: float = Field(allow_inf_nan=False)

    @model_validator(mode="after")
    def _from_the_right_side(self) -> Self:
        own = self.definition
        if own.better != self.better:
            option = "--min" if own.better == "higher" else "--max"
            raise ValueError(f"{own.better} is better for {self.metric}, so it is asked for with {option}")
        if self.value < own.least or (own.most is not None and self.value > own.most):
            most = "" if own.most is None else f" to {own.most:g}"
            raise ValueError(f"{self.metric} goes from {own.least:g}{most}, not to {self.value:g}")
        return self


class Minimum(_Bound):
    """The mean of the metric is at least `value`."""

    better = "higher"

    kind: Literal["minimum"] = "minimum"


class Maximum(_Bound):
    """The mean of the metric, of which less is better, is at most `value`."""

    better = "lower"

    kind: Literal["maximum"] = "maximum"


class MaxDrop(_Condition):
    """The metric is worse than that of the version in service by `value` at most.

    That is so where the interval of the difference, at the level `confidence`, does not reach further.
    """

    kind: Literal["max_drop"] = "max_drop"
    value: float = Field(ge=0, allow_inf_nan=False)
    confidence: float = Field(default=0.95, ge=0.5, lt=1)

    @model_validator(mode="after")
    def _can_be_tested(self) -> Self:
        own = self.definition
        # What is earned has an interval over shoppers; what else counts over all users together cannot be paired.
        if not (own.per_user or own.dimension == "business"):
            raise ValueError(f"{self.metric} is no metric of single users, so no difference of it can be tested")
        if own.most is not None and self.value > own.most - own.least:
            raise ValueError(f"{self.metric} cannot differ by {self.value:g}")
        return self


Condition: TypeAlias = Annotated[Minimum | Maximum | MaxDrop, Field(discriminator="kind")]
_CONDITIONS: TypeAdapter[tuple[Condition, ...]] = TypeAdapter(tuple[Condition, ...])


def parse_conditions(conditions: Sequence[Mapping[str, Any]]) -> tuple[Condition, ...]:
    """The conditions that plain data spells, each given once."""
    try:
        parsed = _CONDITIONS.validate_python(tuple(conditions))
    except ValidationError as error:
        problems = dict[str, None]()
        for problem in error.errors():
            # Of the path (0, minimum, value) only the last name says something to a person.
            name = next((part for part in reversed(problem["loc"]) if isinstance(part, str)), "gate")
            problems[f"{name}: {problem['msg'].removeprefix('Value error, ').rstrip('.')}"] = None
        raise UsageError(f"The gate is not usable ({'; '.join(problems)}); correct these conditions.") from error
    named = [(c.kind, c.measure, c.protocol) for c in parsed]
    for condition in named:
        if named.count(condition) > 1:
            words = f"{condition[0]} of {condition[1]} is given twice"
            raise UsageError(f"The gate is not usable ({words}); give each condition once.")
    return parsed
