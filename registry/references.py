"""References: how a person names a thing of the registry (`hub@live`, `garden:7`, `snapshot:garden/items/3`).

Parsing needs no database; whether the thing exists is the registry's answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import UsageError
from .kinds import NodeKind, SnapshotKind

LIVE = "live"
HUB_SCOPE = "hub"
# Prefixes of references: a domain of that name would make them ambiguous.
RESERVED_NAMES = frozenset({"hub", "index", "snapshot", "release", "evaluation", "domain", "reranker", "rules"})
EXAMPLES = "hub:4, hub@live, garden, garden:7, garden@candidate, index:garden/12, snapshot:garden/items/3"

_NAME = r"[a-z][a-z0-9_]{0,62}"
_ALIAS = r"[a-z][a-z0-9_-]{0,62}"
_NUMBER = r"[1-9][0-9]{0,8}"
_MODEL = re.compile(rf"(?P<domain>{_NAME})(?:@(?P<alias>{_ALIAS})|:(?P<version>{_NUMBER}))?")
_OF_DOMAIN = re.compile(
    rf"domain:(?P<named>{_NAME})"
    rf"|(?:snapshot:(?P<of>{_NAME})/(?P<table>items|events)"
    rf"|(?P<kind>index|release|evaluation|reranker|rules):(?P<domain>{_NAME}))/(?P<version>{_NUMBER}|latest)"
)
EXPERIMENT = "experiment:"
_EXPERIMENT = re.compile(rf"{EXPERIMENT}(?P<domain>{_NAME})/(?P<version>{_NUMBER})")


@dataclass(frozen=True)
class Reference:
    """A parsed reference."""

    kind: NodeKind  # what it names; an alias of a domain names a release, one of the hub a hub version
    domain: str | None = None  # the domain's name, None for the hub
    version: int | None = None  # the exact version; None where `alias` says which, or where the latest is meant
    alias: str | None = None  # the movable name, such as `live`

    @property
    def scope(self) -> str:
        """Whose aliases and version numbers these are: a domain's name, or `hub`."""
        return self.domain or HUB_SCOPE

    def __str__(self) -> str:
        if self.kind is NodeKind.DOMAIN:
            return f"domain:{self.domain}"
        if self.alias is not None:
            return f"{self.scope}@{self.alias}"
        if self.kind in (NodeKind.HUB, NodeKind.SPOKE):
            return f"{self.scope}:{self.version}"
        table = next((f"snapshot:{self.domain}/{one}" for one in SnapshotKind if one.node_kind is self.kind), None)
        return f"{table or f'{self.kind}:{self.domain}'}/{self.version or 'latest'}"


def parse(text: str) -> Reference:
    """Read a reference."""
    text = text.strip()
    if (match := _MODEL.fullmatch(text)) and match["domain"] not in RESERVED_NAMES - {HUB_SCOPE}:
        domain = None if match["domain"] == HUB_SCOPE else match["domain"]
        if match["version"]:
            return Reference(NodeKind.SPOKE if domain else NodeKind.HUB, domain, int(match["version"]))
        return Reference(NodeKind.RELEASE if domain else NodeKind.HUB, domain, alias=match["alias"] or LIVE)
    match = _OF_DOMAIN.fullmatch(text)
    domain = match and (match["named"] or match["of"] or match["domain"])
    if match is None or domain in RESERVED_NAMES:
        raise UsageError(f"{text!r} is not a reference; write one like {EXAMPLES}.")
    if match["named"]:
        return Reference(NodeKind.DOMAIN, domain)
    kind = NodeKind(match["kind"]) if match["kind"] else SnapshotKind(match["table"]).node_kind
    return Reference(kind, domain, None if match["version"] == "latest" else int(match["version"]))


def experiment_ref(domain: str, version: int) -> str:
    """How an experiment of a domain is called; it has no lineage, so that no `Reference` names it."""
    return f"{EXPERIMENT}{domain}/{version}"


def parse_experiment(text: str) -> tuple[str, int]:
    """The domain of an experiment and its number there."""
    match = _EXPERIMENT.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} names no experiment; write one like experiment:garden/1.")
    return match["domain"], int(match["version"])


def is_domain_name(name: str) -> bool:
    """Whether a domain can be called so."""
    return re.fullmatch(_NAME, name) is not None and name not in RESERVED_NAMES


def check_domain_name(name: str) -> str:
    """The name itself; one that is no lower-case identifier of at most 63 characters, or reserved, is a UsageError."""
    if not re.fullmatch(_NAME, name):
        raise UsageError(
            f"{name!r} cannot name a domain; use up to 63 lower-case letters, digits and underscores, a letter first."
        )
    if name in RESERVED_NAMES:
        raise UsageError(f"{name!r} is a reserved word of references; choose another domain name.")
    return name


def check_alias(alias: str) -> str:
    """The alias itself; one that is no lower-case word is a UsageError."""
    if not re.fullmatch(_ALIAS, alias):
        raise UsageError(f"{alias!r} cannot be an alias; use a lower-case word such as live or candidate.")
    return alias
