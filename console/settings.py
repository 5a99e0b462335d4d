"""How the console runs: where it listens, who may look, and whether anything may be changed."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from ..errors import UsageError
from ..serving.settings import ServeSettings, is_loopback

PREFIX = "/console"
BODY_BYTES = 100_000  # of a form


class ConsoleSettings(BaseModel):
    """Settings of the console."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=8090, ge=0, le=65535)  # 0 is any free one
    keys: Path | None = None  # file of keys: who looks shows one of scope `read`, who changes one of scope `admin`
    allow_changes: bool = False
    user_header: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]{1,100}$")  # in which a proxy names the user
    public_hosts: tuple[str, ...] = ()  # names it is reached by beside those of this machine
    open_to_all: bool = False  # listens off this machine although anybody may look
    thumbnail_mb: int = Field(default=64, ge=1)  # of small pictures kept in memory

    @classmethod
    def beside(
        cls, service: ServeSettings, allow_changes: bool, user_header: str | None, public_hosts: tuple[str, ...]
    ) -> Self:
        """The settings of a console that a service shows: it listens where the service does and takes its keys."""
        return cls(
            host=service.host,
            keys=None if user_header else service.keys,
            open_to_all=service.open_to_all,
            allow_changes=allow_changes,
            user_header=user_header,
            public_hosts=public_hosts,
        )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    def require_safe(self) -> None:
        """Refuse to show a workspace to whoever reaches the machine, unless that is said to be meant."""
        if self.user_header and self.keys:
            raise UsageError("Users come from the proxy or show keys; give one of --user-header and --keys.")
        if self.user_header and not (self.is_local or self.public_hosts):
            raise UsageError(
                f"Whoever reaches {self.host} could name themselves in {self.user_header}; listen on 127.0.0.1 behind "
                "the proxy, or name the host that the proxy is reached by with --public-host."
            )
        if not (self.is_local or self.keys or self.user_header or self.open_to_all):
            raise UsageError(
                f"On {self.host} anybody who reaches this machine could look at everything; make a key with `hubspoke "
                "key add` and give --keys FILE, or say --open-to-all where something in front of it checks who asks."
            )
