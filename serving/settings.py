"""How the service runs: where it listens, whom it lets in, what it takes at most."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from ..errors import UsageError

LOCAL_NAMES = ("localhost", "ip6-localhost")


class ServeSettings(BaseModel):
    """Settings of one process of the service."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    domains: tuple[str, ...] = ()  # categories that are served; none named: all that have a release
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)  # 0 is any free one
    root_path: str = Field(default="", pattern=r"^(/[^/\s]+)*$")  # the prefix that a proxy serves it under
    keys: Path | None = None  # file of the keys; None lets everybody in
    open_to_all: bool = False  # listens off this machine without keys
    threads: int | None = Field(default=None, ge=1)  # that answer; None is one per core
    queue: int = Field(default=64, ge=0)  # requests that may wait for a thread
    resident_mb: int = Field(default=4096, ge=1)  # of categories kept in memory, beside their hub
    session_mb: int = Field(default=512, ge=1)  # of what shoppers did lately
    poll_seconds: float = Field(default=1.0, gt=0.0)  # between two looks at where the aliases point
    body_kb: int = Field(default=1024, ge=1)  # of a request; a picture that is looked for has eight times as much
    rate: float | None = Field(default=None, gt=0.0)  # requests per second and key, or address; None is no limit
    search: bool = False  # loads the hub's encoders at once; without it the first search or explanation does
    access_log: bool = True

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    def require_safe(self) -> None:
        """Refuse to let in whoever reaches the machine, unless that is said to be meant."""
        if not (self.is_local or self.keys or self.open_to_all):
            raise UsageError(
                f"On {self.host} anybody who reaches this machine would be served; make a key with `hubspoke key add` "
                "and give --keys FILE, or say --open-to-all where something in front of it checks who asks."
            )


def is_loopback(host: str) -> bool:
    """Whether a name or an address is that of this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in LOCAL_NAMES
