"""What requests hold: checked before anything is asked, unknown keys refused, each with an example that works."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from ..registry.references import LIVE
from .limits import MAX_BATCH, MAX_GIVEN, MAX_ID, MAX_K, MAX_SESSION, MAX_TEXT

Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID)]
Alias = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Count = Annotated[int, Field(ge=1, le=MAX_K)]
# What is told of an item; `rank` and `item_id` always are.
ItemField = Literal["title", "brand", "category", "price", "image", "score", "cold", "pinned"]
Fields = Annotated[tuple[ItemField, ...], Field(description="What to tell of each item; by default everything.")]


class Body(BaseModel):
    """Base of all requests."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SessionItem(Body):
    """One event of a session."""

    item_id: Id
    timestamp: datetime | None = None
    event_type: str | None = Field(default=None, max_length=60)


class Shopper(Body):
    """Whom a list is for: a session, a shopper whose events are recorded, or nobody in particular."""

    session: tuple[Id | SessionItem, ...] = Field(default=(), max_length=MAX_SESSION, description="Oldest first.")
    user: Id | None = None
    alias: Alias = LIVE
    exclude_seen: bool = False

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.session and self.user is not None:
            raise ValueError("session and user both say what was seen; give one of them")
        return self

    @property
    def item_ids(self) -> list[str]:
        """The items of the session, oldest first."""
        return [own if isinstance(own, str) else own.item_id for own in self.session]


class RecommendBody(Shopper):
    """What to show a shopper."""

    k: Count = 10
    diversity: float = Field(default=0.0, ge=0.0, le=1.0)
    near: float | None = Field(default=None, gt=0.0, le=1.0)
    fields: Fields | None = None

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"session": ["1041", {"item_id": "977", "event_type": "cart"}], "k": 3}]}
    )


class BatchBody(Body):
    """Several lists at once; each is answered, or refused, by itself."""

    # Looked at one by one, so that a bad one is not the others' fault.
    requests: tuple[Any, ...] = Field(min_length=1, max_length=MAX_BATCH)

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"requests": [{"session": ["1041"], "k": 3}, {"user": "ann", "k": 3}]}]}
    )


class SimilarBody(Body):
    """Which items to list beside one."""

    k: Count = 10
    alias: Alias = LIVE
    fields: Fields | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"k": 3}]})


class SearchBody(Body):
    """What is looked for."""

    text: str | None = Field(default=None, max_length=MAX_TEXT)
    image: str | None = Field(default=None, description="A picture (JPEG, PNG, WebP) in base64.")
    k: Count = 10
    alias: Alias = LIVE
    fields: Fields | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "hose for a balcony", "k": 3}]})

    @field_validator("image")
    @classmethod
    def _is_base64(cls, image: str | None) -> str | None:
        if image is not None and image.startswith(("http://", "https://")):
            raise ValueError("pictures are not fetched from addresses; send the picture itself in base64")
        return image

    @property
    def picture(self) -> bytes | None:
        """The bytes of the picture; a ValueError where they are no base64."""
        if self.image is None:
            return None
        text = self.image.partition("base64,")[2] if self.image.startswith("data:") else self.image
        try:
            return base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise ValueError("the picture is no base64") from error


class RankBody(Shopper):
    """Items to put in order for a shopper."""

    items: tuple[Id, ...] = Field(min_length=1, max_length=MAX_GIVEN)
    fields: Fields | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"session": ["1041"], "items": ["977", "1002"]}]})


class ExplainBody(Shopper):
    """A list, or items, to explain."""

    k: Annotated[int, Field(ge=1, le=50)] = 5
    items: tuple[Id, ...] = Field(default=(), max_length=50)

    model_config = ConfigDict(json_schema_extra={"examples": [{"session": ["1041"], "k": 2}]})
