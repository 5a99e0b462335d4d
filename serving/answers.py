"""From a resident and a request to the bytes of an answer: those of the command line's `--json`, and what served it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from pydantic import ValidationError

from ..catalog.images import ImageLimits, check_picture
from ..errors import InvalidDataError
from ..results import SCHEMA_VERSION, Record, jsonable
from ..workflows.answers import Found
from ..workflows.context import Context
from ..workflows.explain import explain_answer
from ..workflows.question import Followed, Question
from .encoding import dumps
from .experiments import Assignment
from .problems import invalid, problem_of
from .residents import Resident
from .schemas import BatchBody, ExplainBody, ListBody, RankBody, SearchBody, Shopper, SimilarBody
from .sessions import LiveSessions


@dataclass(frozen=True)
class Asking:
    """Who answers a request, and when it came."""

    resident: Resident
    started: float  # as time.perf_counter() told it
    context: Context
    sessions: LiveSessions
    assignment: Assignment | None = None  # of whom is asked for, in an experiment

    @property
    def told(self) -> dict[str, Any]:
        """What an answer says of who gave it."""
        experiment = None if self.assignment is None else self.assignment.told()
        return {"ref": self.resident.ref, "experiment": experiment}

    def followed(self, user: str | None) -> Followed | None:
        """What is known of a shopper beyond the record; None where that is nothing."""
        if user is None:
            return None
        return self.sessions.followed(self.resident.place.domain, user, self.resident.recommender)


@dataclass(frozen=True)
class Answered:
    """An answer as it is sent, and what is told of it elsewhere."""

    content: bytes
    recommendation_id: str
    items: Sequence[str] = ()  # ids in their order
    fallback: str | None = None  # why it is none to a shopper that is known


def recommend(asking: Asking, body: ListBody) -> Answered:
    """What to show a shopper; to one of whom nothing is known, what is popular with newcomers or new."""
    how = {"k": body.k, "diversity": body.diversity, "near": body.near}
    found = asking.resident.recommender.find(question_of(asking, body, **how))
    return _list(asking, found, body.fields, _fallback(body, found))


def batch(asking: Asking, body: BatchBody) -> Answered:
    """A list for each request, in their order; one that cannot be answered is a problem in its place."""
    results = [_one_of_many(asking, request) for request in body.requests]
    return _whole(asking, {}, encoded={"results": b"[" + b",".join(results) + b"]"})


def similar(asking: Asking, item: str, body: SimilarBody) -> Answered:
    """The items nearest to one."""
    return _list(asking, asking.resident.recommender.find_similar(item, body.k, body.filter), body.fields)


def rank(asking: Asking, body: RankBody) -> Answered:
    """Given items in the order in which the shopper would see them."""
    answer = asking.resident.recommender.rank(question_of(asking, body), body.items)
    return _record(asking, answer, body.fields, _fallback(body, answer))


def explain(asking: Asking, body: ExplainBody) -> Answered:
    """A list with every score taken apart."""
    question = replace(question_of(asking, body, k=body.k), fallback=False)
    return _record(asking, explain_answer(asking.context, asking.resident.recommender, question, body.items))


def search(asking: Asking, body: SearchBody) -> Answered:
    """The items that are most like what is looked for."""
    find = asking.resident.recommender.search
    if body.image is None:
        return _record(asking, find(body.text, None, body.k, body.filter), body.fields)
    with NamedTemporaryFile(prefix="hubspoke-", suffix=".image") as file:
        file.write(_picture(body))
        file.flush()
        found = find(body.text, Path(file.name), body.k, body.filter, body.image_share)
    return _record(asking, replace(found, picture="given"), body.fields)


def item(asking: Asking, item: str) -> Answered:
    """What is known of an item, and why it is not shown where it is not."""
    recommender = asking.resident.recommender
    row = recommender.row(item)
    (about,) = recommender.catalog.describe([row])
    about |= {"cold": bool(recommender.cold[row]), "not_shown": recommender.catalog.reason_against(row, [])}
    index = recommender.loaded.record.ref
    return _whole(asking, {"ref": asking.resident.ref, "index": index, "item": about})


def question_of(asking: Asking, body: Shopper, **how: Any) -> Question:
    """What a recommender is asked for a shopper."""
    known: dict[str, Any] = {"exclude_seen": body.exclude_seen, "filter": body.filter, "fallback": True}
    return Question(body.events, body.user, followed=asking.followed(body.user), **known, **how)


def _fallback(body: Shopper, found: Any) -> str | None:
    """Why an answer is that of a newcomer; None where it rests on a session."""
    if found.session:
        return None
    if body.user is not None:
        return "no session here" if found.known_from else "unknown user"
    return "unknown session" if body.session else "no session"


def _one_of_many(asking: Asking, request: Any) -> bytes:
    try:
        return recommend(asking, ListBody.model_validate(request)).content
    except ValidationError as error:
        return dumps(invalid(error.errors()).to_dict())
    except Exception as error:
        return dumps(problem_of(error).to_dict())


def _picture(body: SearchBody) -> bytes:
    content = body.picture or b""
    refused = check_picture(content, ImageLimits())
    if refused is not None:
        raise InvalidDataError(f"The picture that is looked for cannot be read ({refused}); send a JPEG, PNG or WebP.")
    return content


def _list(asking: Asking, found: Found, fields: Sequence[str] | None, fallback: str | None = None) -> Answered:
    """A list of rows, from the bytes of its items."""
    recommender, items = asking.resident.recommender, asking.resident.items
    rows, marks = [row for row, _ in found.ranked], recommender.teller.marks(found.ranked, found.pinned)
    about = {**recommender.teller.about(found), **asking.told, "fallback": fallback}
    listed = {"session": items.objects(found.session), "items": items.listed(rows, marks, fields)}
    return _whole(asking, about, [recommender.item_ids[row] for row in rows], fallback, listed)


def _record(
    asking: Asking, answer: Record, fields: Sequence[str] | None = None, fallback: str | None = None
) -> Answered:
    content = {**answer.to_dict(), **asking.told, "fallback": fallback}
    if fields is not None:
        kept = ("rank", "item_id", *fields)
        content["items"] = [{name: own[name] for name in own if name in kept} for own in content["items"]]
    return _whole(asking, content, [own["item_id"] for own in content["items"]], fallback)


def _whole(
    asking: Asking,
    about: Mapping[str, Any],
    items: Sequence[str] = (),
    fallback: str | None = None,
    encoded: Mapping[str, bytes] | None = None,
) -> Answered:
    """An answer: its version, what it says, parts that are bytes already, and which release took how long over it."""
    release = asking.resident.version.release
    first = dumps({"schema_version": SCHEMA_VERSION, **jsonable(about), "release": release})
    took = round(1000 * (time.perf_counter() - asking.started), 2)
    recommendation_id = uuid.uuid4().hex
    last = dumps({"recommendation_id": recommendation_id, "took_ms": took})
    parts = (b'"%b":%b' % (name.encode(), value) for name, value in (encoded or {}).items())
    return Answered(b",".join([first[:-1], *parts, last[1:]]), recommendation_id, items, fallback)


Work = Callable[[Asking], Answered]
