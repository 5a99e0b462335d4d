"""What is served: categories, their releases, and what of them is in memory."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from ...errors import NotFoundError
from ...results import SCHEMA_VERSION, jsonable
from ..dependencies import Domain, Serving
from ..releases import Place
from ..security import Reader
from ..service import Service

router = APIRouter(tags=["domains"])


@router.get("/v1/domains")
async def domains(service: Serving, _: Reader) -> dict[str, Any]:
    """Every category that is served, with what its aliases point at."""
    names = sorted(service.residents.heads.domains)
    return {"schema_version": SCHEMA_VERSION, "domains": [_domain(service, name) for name in names]}


@router.get("/v1/domains/{domain}")
async def domain(domain: Domain, service: Serving, _: Reader) -> dict[str, Any]:
    """One category."""
    if domain not in service.residents.heads.domains:
        raise NotFoundError(f"{domain!r} is not served here; GET /v1/domains lists what is.")
    return {"schema_version": SCHEMA_VERSION, **_domain(service, domain)}


def _domain(service: Service, name: str) -> dict[str, Any]:
    heads = service.residents.heads
    places = [place for place in heads.versions if place.domain == name and not place.is_candidate]
    aliases = {place.alias: _served(service, place) for place in sorted(places, key=str)}
    experiment = None
    if (own := heads.experiments.get(name)) is not None:
        experiment = {"ref": own.ref, "share": own.share, "candidate": _served(service, Place.candidate(own))}
    return {"domain": name, "aliases": aliases, "experiment": experiment}


def _served(service: Service, place: Place) -> dict[str, Any]:
    wanted, resident = service.residents.heads.versions[place], service.residents.peek(place)
    failure = service.residents.failures.get(place)
    return {
        "release": wanted.release,
        "serving": resident.version.release if resident else None,
        "index": resident.recommender.loaded.record.ref if resident else None,
        "n_items": len(resident.recommender.item_ids) if resident else None,
        "bytes": resident.bytes if resident else None,
        "loaded_at": jsonable(resident.loaded_at) if resident else None,
        "loading": service.residents.is_loading(place),
        "failure": str(failure.error) if failure else None,
    }
