"""Which release serves: what there is, how that came about, and moving an alias, if nobody else has moved it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from ...errors import LockedError, UsageError
from ...registry.references import LIVE
from ...registry.store import Registry
from ...registry.stores.aliases import ANYTHING
from ...results import SCHEMA_VERSION, jsonable
from ...workflows.context import Context
from ...workflows.releases import Promotion, promote, rollback
from ...workflows.targets import find_target, pointed_at
from ..dependencies import KnownDomain, Serving
from ..problems import ProblemError
from ..schemas import Alias, Body, Id
from ..security import Admin, Caller, Reader
from ..service import Service

router = APIRouter(tags=["releases"])
NOTHING = "none"  # where an alias points at nothing
IfMatch = Annotated[
    str | None,
    Header(alias="If-Match", description="The ETag of the alias, as GET .../releases gives it; `*` for any."),
]


class MoveBody(Body):
    """How an alias is to be moved."""

    alias: Alias = LIVE
    reason: str | None = Field(default=None, max_length=1000, description="Kept in the history.")
    dry_run: bool = False


class PromoteBody(MoveBody):
    """What is to serve."""

    ref: Id = Field(examples=["garden:7"], description="A spoke, index or release of the category.")
    rules: Id | None = Field(default=None, description="A version of rules, or `none`; by default those in force.")
    override: bool = Field(default=False, description="Although the gate is not met; needs a reason.")


@router.get("/v1/domains/{domain}/releases")
async def releases(
    _: Reader, domain: KnownDomain, service: Serving, alias: Annotated[Alias, Query()] = LIVE
) -> Response:
    """Every release of a category and where its aliases point; the ETag is that of `alias`."""

    def look() -> dict[str, Any]:
        registry = service.workspace.registry
        aliases = {own.alias: own.target for own in registry.aliases.list(domain)}
        return {"releases": registry.releases.list(domain), "aliases": aliases}

    found = await service.executor.run(look)
    return _answer(found, found["aliases"].get(alias))


@router.get("/v1/domains/{domain}/history")
async def history(_: Reader, domain: KnownDomain, service: Serving) -> Response:
    """Every move of the aliases of a category, oldest first."""
    moves = await service.executor.run(lambda: service.workspace.history(domain))
    return JSONResponse({"schema_version": SCHEMA_VERSION, "history": jsonable(moves)})


@router.post("/v1/domains/{domain}/promote")
async def promote_to(
    caller: Admin, domain: KnownDomain, body: PromoteBody, service: Serving, if_match: IfMatch = None
) -> Response:
    """Point an alias at a release, made where there is none of these parts; the gate of the category is asked.

    A 412 where the alias has moved since its ETag was read, a 409 where the gate is not met.
    """

    def move(context: Context, expected: str | None) -> Promotion:
        if find_target(context.registry, body.ref).domain != domain:
            raise UsageError(f"{body.ref} is not of {domain}; name one of its spokes, indexes or releases.")
        how: dict[str, Any] = {"reason": body.reason, "rules": body.rules, "override": body.override}
        return promote(context, body.ref, body.alias, expected=expected, dry_run=body.dry_run, **how)

    return await _moved(service, caller, Condition(domain, body.alias, if_match), move)


@router.post("/v1/domains/{domain}/rollback")
async def roll_back(
    caller: Admin, domain: KnownDomain, body: MoveBody, service: Serving, if_match: IfMatch = None
) -> Response:
    """Point an alias back at what it pointed at before its last promotion, the release whole; no gate is asked."""

    def move(context: Context, expected: str | None) -> Promotion:
        return rollback(context, domain, body.alias, reason=body.reason, expected=expected, dry_run=body.dry_run)

    return await _moved(service, caller, Condition(domain, body.alias, if_match), move)


@dataclass(frozen=True)
class Condition:
    """What an alias must point at for a move: one of the ETags of an `If-Match` header."""

    domain: str
    alias: str
    header: str | None

    def expected(self, registry: Registry) -> str | None:
        """What it points at now, `ANYTHING` where that is all the same; a problem where the condition is not met."""
        now = pointed_at(registry, self.domain, self.alias)
        if self.header is None:
            raise ProblemError(
                428,
                f"A move of {self.domain}@{self.alias} says what it moves from; send If-Match with the ETag of GET "
                f"/v1/domains/{self.domain}/releases?alias={self.alias}, or `*`.",
                {"ETag": _etag(now)},
            )
        tags = [tag.strip().removeprefix("W/") for tag in self.header.split(",")]
        if tags == ["*"]:
            return ANYTHING
        if _etag(now) not in tags:
            raise self.unmet(now)
        return now

    def unmet(self, now: str | None) -> ProblemError:
        """The alias has moved."""
        told = f"{self.domain}@{self.alias} points at {now or 'nothing'} now; look at it again before you move it."
        return ProblemError(412, told, {"ETag": _etag(now)})


async def _moved(
    service: Service, caller: Caller, condition: Condition, move: Callable[[Context, str | None], Promotion]
) -> Response:
    context = service.workspace.acting_as(None if caller.key is None else f"key {caller.key}")

    def run() -> Promotion:
        registry = context.registry
        expected = condition.expected(registry)
        try:
            return move(context, expected)
        except LockedError:  # somebody was quicker, or only at work on something else
            now = pointed_at(registry, condition.domain, condition.alias)
            if expected not in (ANYTHING, now):
                raise condition.unmet(now) from None
            raise

    found = await service.executor.run(run)
    return _answer(found.to_dict(), found.before if found.dry_run else found.after)


def _answer(content: dict[str, Any], target: str | None) -> JSONResponse:
    return JSONResponse({"schema_version": SCHEMA_VERSION, **jsonable(content)}, headers={"ETag": _etag(target)})


def _etag(target: str | None) -> str:
    return f'"{target or NOTHING}"'
