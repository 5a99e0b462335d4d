"""Who looks: a visitor known by a signed cookie or by the proxy's header, and tokens that forms must bring back.

The cookie holds an id, whom the visitor signed in as, and until when; it is signed with a key of this process, so that
a restart signs everybody out. Tokens of forms are bound to the id, which changes when somebody signs in.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..serving.keys import KeyRing
from .settings import ConsoleSettings

COOKIE = "hubspoke_console"
VISIT_SECONDS = 8 * 3600
MAX_NAME = 200


@dataclass(frozen=True)
class Visitor:
    """Who asks for a page."""

    id: str
    name: str | None = None  # as the histories name whoever changes something; None is the workspace's own actor
    signed_in: bool = False
    may_look: bool = False
    may_change: bool = False
    is_new: bool = False  # no cookie yet


class Access:
    """Knows visitors, signs them in, and tells a form of ours from one of another site."""

    def __init__(self, settings: ConsoleSettings, keys: KeyRing | None = None) -> None:
        self._settings, self._keys = settings, keys
        self._key = secrets.token_bytes(32)
        by_token = settings.allow_changes and keys is None and settings.user_header is None
        self.token = secrets.token_urlsafe(24) if by_token else None  # whoever shows it may change things

    @property
    def takes_sign_in(self) -> bool:
        """Whether there is anything to sign in with."""
        return self._keys is not None or self.token is not None

    def visitor(self, cookie: str | None, headers: Mapping[str, str]) -> Visitor:
        """Who comes with this cookie and these headers (names in lower case)."""
        visit = self._read(cookie)
        known = Visitor(visit["id"]) if visit else Visitor(secrets.token_urlsafe(18), is_new=True)
        if self._settings.user_header is not None:
            name = headers.get(self._settings.user_header.lower(), "").strip()[:MAX_NAME]
            may_change = bool(name) and self._settings.allow_changes
            return replace(known, name=name or None, signed_in=bool(name), may_look=bool(name), may_change=may_change)
        if self._keys is None:
            signed_in = bool(visit and visit["as"] == "token" and self.token)
            return replace(known, signed_in=signed_in, may_look=True, may_change=signed_in)
        self._keys.refresh()
        key = self._keys.named(visit["as"][4:]) if visit and visit["as"].startswith("key ") else None
        if key is None:
            return known
        may_change = self._settings.allow_changes and "admin" in key.scopes
        look = "read" in key.scopes or "admin" in key.scopes
        return replace(known, name=f"key {key.name}", signed_in=True, may_look=look, may_change=may_change)

    def sign_in(self, secret: str) -> str | None:
        """The cookie of whoever shows a key or the token; None where it is neither."""
        if self._keys is not None:
            self._keys.refresh()
            key = self._keys.find(secret)
            return None if key is None else self.cookie(secrets.token_urlsafe(18), f"key {key.name}")
        if self.token is not None and hmac.compare_digest(secret.encode(), self.token.encode()):
            return self.cookie(secrets.token_urlsafe(18), "token")
        return None

    def cookie(self, visit: str, who: str = "") -> str:
        """The value of a cookie, signed."""
        content = json.dumps({"id": visit, "as": who, "until": int(time.time()) + VISIT_SECONDS}).encode()
        text = base64.urlsafe_b64encode(content).decode()
        return f"{text}.{self._sign('cookie', text)}"

    def form_token(self, visitor: Visitor) -> str:
        """What a form of this visitor brings back."""
        return self._sign("form", visitor.id)

    def is_ours(self, visitor: Visitor, token: str) -> bool:
        """Whether a form came from a page of this visitor."""
        return hmac.compare_digest(token.encode(), self.form_token(visitor).encode())

    def _read(self, cookie: str | None) -> dict[str, str] | None:
        text, _, signature = (cookie or "").rpartition(".")
        if not text or not hmac.compare_digest(signature.encode(), self._sign("cookie", text).encode()):
            return None
        visit: dict[str, str] = json.loads(base64.urlsafe_b64decode(text))
        return visit if int(visit["until"]) > time.time() else None

    def _sign(self, what: str, text: str) -> str:
        return hmac.new(self._key, f"{what}:{text}".encode(), hashlib.sha256).hexdigest()
