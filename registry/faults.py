"""Faults of database drivers put into one sentence with the remedy.

The only place that reads their codes and words.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError

from ..errors import HubspokeError, InvalidDataError, LockedError
from ..files import no_space, not_writable


def _busy(where: str) -> LockedError:
    return LockedError(f"Another process is writing to {where}; wait for it to end and repeat the command.")


def _sqlite_fault(text: str, where: str) -> HubspokeError | None:
    if "locked" in text or "busy" in text:
        return _busy(where)
    if "not a database" in text or "malformed" in text:
        return InvalidDataError(
            f"{where} is not a readable SQLite database ({text}); restore a backup, "
            "or set HUBSPOKE_REGISTRY_URL to another."
        )
    if "readonly" in text or "read-only" in text:
        return not_writable(where)
    if "disk is full" in text:
        return no_space(where)
    if "unable to open" in text:
        return HubspokeError(f"{where} cannot be opened; check that its folder exists and that this user may read it.")
    return None


def _postgres_fault(state: str | None, text: str, where: str) -> HubspokeError | None:
    if state is None:
        return HubspokeError(
            f"The database {where} cannot be reached ({text}); check HUBSPOKE_REGISTRY_URL and that the server runs."
        )
    if state == "53100":
        return no_space(where)
    if state in ("25006", "42501"):
        return not_writable(where)
    if state in ("55P03", "40P01", "40001"):
        return _busy(where)
    return None


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def database_fault(error: DBAPIError, where: str) -> HubspokeError:
    """The driver's error as one of ours; `where` names the database without its password."""
    original = error.orig or error
    text = _first_line(original)
    if isinstance(error, IntegrityError):
        return LockedError(f"Another process changed {where} at the same moment ({text}); repeat the command.")
    if type(original).__module__.startswith("sqlite3"):
        known = _sqlite_fault(text, where)
    else:
        known = _postgres_fault(getattr(original, "sqlstate", None), text, where)
    return known or HubspokeError(f"The database {where} refused ({text}); run `hubspoke doctor`.")


@contextmanager
def database_faults(where: str) -> Iterator[None]:
    """Translate what the driver raises inside the block."""
    try:
        yield
    except DBAPIError as error:
        raise database_fault(error, where) from error
