"""One event as it comes from a shop while it happens: checked field by field, written as one line of JSON.

An event without an id gets one that follows from its content, so that sending it again, as a client does whose
connection broke, is not another event.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import polars as pl
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..errors import InvalidDataError
from .schema import EVENT_SCHEMA, EVENT_TYPES, ITEMLESS_EVENT_TYPES

# How far ahead of ours a shop's clock may be.
CLOCK_AHEAD = timedelta(minutes=5)
# What `attributes` of an event snapshot say of where an event came from.
EVENT_ID, RECOMMENDATION_ID = "event_id", "recommendation_id"
RESERVED = (EVENT_ID, RECOMMENDATION_ID)


def _moment(value: object) -> object:
    """Times are text: of a number nobody can tell whether it is seconds or milliseconds."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or "T" not in value.upper().strip().replace(" ", "T"):
        raise ValueError("write a time as 2026-01-31T14:05:00Z")
    return value


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("write a number")
    return value


def _whole(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("write a whole number")
    return value


Id = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\x00-\x1f]*$")]
Moment = Annotated[datetime, Field(strict=False), BeforeValidator(_moment)]
Number = Annotated[float, BeforeValidator(_number)]
Count = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=2**53)]
Attributes = Annotated[dict[Id, Annotated[str, Field(max_length=1000)]], Field(max_length=50)]


class ShopperEvent(BaseModel):
    """One event; what a snapshot of events holds, and which recommendation it followed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_id: Id = ""  # set by `identified` where the shop has none
    user_id: Id
    item_id: Id | None = None
    timestamp: Moment  # of no zone is UTC
    event_type: str = "view"
    session_id: Id | None = None
    query: Annotated[str, Field(max_length=1000)] | None = None
    value: Number | None = None
    quantity: Count | None = None
    position: Count | None = None
    attributes: Attributes = {}
    recommendation_id: Id | None = None

    @field_validator("timestamp")
    @classmethod
    def _utc(cls, value: datetime) -> datetime:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    @field_validator("event_type")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in EVENT_TYPES:
            raise ValueError(f"use one of {', '.join(EVENT_TYPES)}")
        return value

    @model_validator(mode="after")
    def _names_its_item(self) -> ShopperEvent:
        if self.item_id is None and self.event_type not in ITEMLESS_EVENT_TYPES:
            raise ValueError(f"a {self.event_type} names its item; give it an item_id")
        if taken := sorted(set(RESERVED) & set(self.attributes)):
            raise ValueError(f"{taken[0]} is a field of its own, not an attribute")
        return self

    def line(self) -> bytes:
        """The event as one line of UTF-8 JSON."""
        return self.model_dump_json(exclude_defaults=True).encode() + b"\n"


def read_event(raw: object, now: datetime) -> ShopperEvent:
    """One event from JSON's types; InvalidDataError says in a sentence what is wrong with it.

    Without a timestamp it happens `now`; far ahead of that its clock is wrong, and it is refused.
    """
    if not isinstance(raw, Mapping):
        raise InvalidDataError(f"An event is an object with a user_id and an item_id, not a {type(raw).__name__}.")
    given = {"timestamp": now, **{name: value for name, value in raw.items() if value is not None}}
    try:
        event = ShopperEvent.model_validate(given)
    except ValidationError as error:
        raise InvalidDataError(_sentence(error)) from error
    if event.timestamp > now + CLOCK_AHEAD:
        raise InvalidDataError(
            f"timestamp {event.timestamp.isoformat()} lies more than {CLOCK_AHEAD.seconds // 60} minutes ahead of "
            f"{now.isoformat(timespec='seconds')}; set the clock that it comes from."
        )
    return identified(event)


def identified(event: ShopperEvent) -> ShopperEvent:
    """The event with an id; where it came without one, one that follows from all that is said of it."""
    if event.event_id:
        return event
    content = json.dumps(event.model_dump(mode="json"), sort_keys=True)
    return event.model_copy(update={"event_id": hashlib.sha256(content.encode()).hexdigest()[:32]})


def _sentence(error: ValidationError) -> str:
    """The first thing that is wrong, and how many more there are."""
    first, *others = error.errors(include_url=False)
    where = ".".join(map(str, first["loc"]))
    more = f" (and {len(others)} more)" if others else ""
    if first["type"] == "extra_forbidden":
        return f"{where} is no field of an event; put it into attributes, as text{more}."
    told = first["msg"].removeprefix("Value error, ")
    return f"{where}: {told}{more}." if where else f"{told[:1].upper()}{told[1:]}{more}."


def events_frame(events: Sequence[ShopperEvent]) -> pl.DataFrame:
    """Events in the canonical schema, in their order; their ids and recommendations are among the attributes."""
    columns: dict[str, list[Any]] = {name: [] for name in EVENT_SCHEMA}
    for event in events:
        for name in columns.keys() - {"attributes"}:
            columns[name].append(getattr(event, name))
        origin = {EVENT_ID: event.event_id, RECOMMENDATION_ID: event.recommendation_id}
        told = {**event.attributes, **{key: value for key, value in origin.items() if value}}
        columns["attributes"].append([{"key": key, "value": value} for key, value in told.items()])
    return pl.DataFrame(columns, schema=EVENT_SCHEMA)


def logged_time(name: str) -> pl.Expr:
    """A column of times as services write them into logs, in UTC; null for what is none."""
    return pl.col(name).str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC", strict=False)


def origin_of(name: str) -> pl.Expr:
    """`EVENT_ID` or `RECOMMENDATION_ID` of canonical events, which have it among their attributes; null without one."""
    named = pl.element().filter(pl.element().struct.field("key") == name).struct.field("value")
    return pl.col("attributes").list.eval(named).list.first().alias(name)


def event_ids(events: pl.DataFrame) -> pl.Series:
    """(E,) the id that each of some canonical events came with; null for those that were read from a file."""
    return events.select(origin_of(EVENT_ID)).to_series()
