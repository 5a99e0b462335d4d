"""The mark of an artifact store: one small file that says which registry the artifacts belong to."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from ...errors import InvalidDataError

MARK = "owner.json"


@dataclass(frozen=True)
class Mark:
    """Whose a store is, and the last of that registry's stamps; only who has that stamp knows all that is stored."""

    registry: str
    stamp: str

    def to_bytes(self) -> bytes:
        """The content of `owner.json`."""
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode()


def parse_mark(content: bytes, where: str) -> Mark:
    """The mark of the store at `where`; a file that is none is an InvalidDataError."""
    try:
        found = json.loads(content)
        registry, stamp = found["registry"], found["stamp"]
    except (ValueError, KeyError, TypeError):
        registry = stamp = None
    if not (isinstance(registry, str) and isinstance(stamp, str)):
        raise InvalidDataError(
            f"{MARK} in {where} does not say which registry the artifacts belong to; take them over with "
            "`hubspoke registry adopt --yes`."
        )
    return Mark(registry, stamp)
