"""What requests hold: checked before anything is asked, unknown keys refused, each with an example that works."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from ..catalog.shopper_events import Moment
from ..registry.references import LIVE
from ..retrieval.filters import Filter
from ..workflows.question import SessionEvent
from .limits import MAX_BATCH, MAX_EXPLAINED, MAX_GIVEN, MAX_ID, MAX_K, MAX_SESSION, MAX_TEXT

Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID)]
Alias = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Count = Annotated[int, Field(ge=1, le=MAX_K)]
# What is told of an item; `rank` and `item_id` always are.
ItemField = Literal["title", "brand", "category", "price", "image", "score", "cold", "pinned"]
Fields = Annotated[
    tuple[ItemField, ...], Field(strict=False, description="What to tell of each item; by default everything.")
]


class Body(BaseModel):
    """Base of all requests: what JSON has a type for comes in it; a list is no tuple, so that those are not strict."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def examples(*bodies: dict[str, Any]) -> ConfigDict:
    """The examples of a request, as OpenAPI shows them."""
    return ConfigDict(json_schema_extra={"examples": list(bodies)})


class SessionItem(Body):
    """One event of a session."""

    item_id: Id
    timestamp: Moment | None = None
    event_type: str | None = Field(default=None, max_length=60)


class Shopper(Body):
    """Whom a list is for: a session, a shopper whose events are recorded, or nobody in particular."""

    session: tuple[Id | SessionItem, ...] = Field(
        default=(), strict=False, max_length=MAX_SESSION, description="Oldest first."
    )
    user: Id | None = None
    shopper: Id | None = Field(default=None, description="Whom an experiment takes them for; by default `user`.")
    exclude_seen: bool = False
    filter: Filter | None = Field(default=None, description="What may be shown; conditions on what items are.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.session and self.user is not None:
            raise ValueError("session and user both say what was seen; give one of them")
        return self

    @property
    def taken_for(self) -> str | None:
        """Whom an experiment takes them for; None where nobody in particular is named."""
        return self.user if self.shopper is None else self.shopper

    @property
    def events(self) -> list[str | SessionEvent]:
        """The session, oldest first."""
        return [own if isinstance(own, str) else SessionEvent(**dict(own)) for own in self.session]


class ListBody(Shopper):
    """How a list for a shopper is to be made."""

    k: Count = 10
    diversity: float = Field(default=0.0, ge=0.0, le=1.0, description="Trades score for difference.")
    near: float | None = Field(
        default=None, gt=0.0, le=1.0, description="Pass over what is as near as this cosine to something before it."
    )
    fields: Fields | None = None


class RecommendBody(ListBody):
    """What to show a shopper."""

    alias: Alias = LIVE

    model_config = examples(
        {"session": ["1041", {"item_id": "977", "event_type": "cart"}], "k": 3},
        {"user": "ann", "k": 3, "filter": {"must": [{"field": "price", "range": {"lte": 50}}]}},
    )


class BatchBody(Body):
    """Several lists at once, by one release; each is answered, or refused, by itself."""

    # Looked at one by one, so that a bad one is not the others' fault.
    requests: tuple[Any, ...] = Field(
        strict=False, min_length=1, max_length=MAX_BATCH, description="Each as for `recommend`, without an alias."
    )
    alias: Alias = LIVE

    model_config = examples({"requests": [{"session": ["1041"], "k": 3}, {"user": "ann", "k": 3}]})


class SimilarBody(Body):
    """Which items to list beside one."""

    k: Count = 10
    filter: Filter | None = None
    alias: Alias = LIVE
    fields: Fields | None = None

    model_config = examples({"k": 3})


class SearchBody(Body):
    """What is looked for: words, a picture, or both."""

    text: str | None = Field(default=None, max_length=MAX_TEXT)
    image: str | None = Field(default=None, description="A picture (JPEG, PNG, WebP) in base64.")
    image_share: float | None = Field(
        default=None,
        ge=0.0,
        le=1.0,
        description="What the picture weighs beside the words; by default as in the model.",
    )
    k: Count = 10
    filter: Filter | None = None
    alias: Alias = LIVE
    fields: Fields | None = None

    model_config = examples({"text": "hose for a balcony", "k": 3})

    @field_validator("image")
    @classmethod
    def _is_no_address(cls, image: str | None) -> str | None:
        if image is not None and image.startswith(("http://", "https://")):
            raise ValueError("pictures are not fetched from addresses; send the picture itself in base64")
        return image

    @property
    def picture(self) -> bytes | None:
        """The bytes of the picture, None where they are no base64."""
        text = self.image or ""
        try:
            return base64.b64decode(text.partition("base64,")[2] if text.startswith("data:") else text, validate=True)
        except binascii.Error:
            return None


class RankBody(Shopper):
    """Items to put in the order in which a shopper would see them."""

    items: tuple[Id, ...] = Field(strict=False, min_length=1, max_length=MAX_GIVEN)
    alias: Alias = LIVE
    fields: Fields | None = None

    model_config = examples({"session": ["1041"], "items": ["977", "1002"]})


class ExplainBody(Shopper):
    """A list, or items, to explain."""

    k: Annotated[int, Field(ge=1, le=MAX_EXPLAINED)] = 5
    items: tuple[Id, ...] = Field(default=(), strict=False, max_length=MAX_EXPLAINED)
    alias: Alias = LIVE

    model_config = examples({"session": ["1041"], "k": 2})
