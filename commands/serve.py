"""`hubspoke serve`: recommendations over HTTP, of what the aliases point at."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import click

from ..errors import UsageError
from ..workflows.typed_lists import names
from .call import Call, command
from .console import changing_options, told
from .options import together

_options = together(
    click.option("--domains", metavar="A,B,C", help="Categories to serve (default: all that have a release)."),
    click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
    click.option(
        "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port; 0 is any free one."
    ),
    click.option("--keys", metavar="FILE", help="File of the keys that callers must show, made with `hubspoke key`."),
    click.option("--open-to-all", is_flag=True, help="Listen off this machine without keys."),
    click.option("--root-path", default="", metavar="/PREFIX", help="Prefix under which a proxy serves it."),
    click.option("--threads", type=click.IntRange(min=1), help="Threads that answer (default: one per core)."),
    click.option(
        "--queue", type=click.IntRange(min=0), default=64, show_default=True, help="Requests that may wait for one."
    ),
    click.option(
        "--resident-mb",
        type=click.IntRange(min=1),
        default=4096,
        show_default=True,
        help="Megabytes of categories kept in memory, beside their hub.",
    ),
    click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Requests a second per key or address."),
    click.option(
        "--search",
        is_flag=True,
        help="Load the hub's encoders at the start, not at the first search or explanation; lists do without.",
    ),
    click.option("--console", "with_console", is_flag=True, help="Show the workspace under /console too."),
    click.option("--access-log/--no-access-log", default=True, help="One line of JSON on stderr per request."),
)


@command(example=("hubspoke serve --domains garden,pets --port 8080", "hubspoke serve --host 0.0.0.0 --keys keys.json"))
@_options
@changing_options
def serve(
    call: Call,
    domains: str | None,
    keys: str | None,
    with_console: bool,
    allow_changes: bool,
    user_header: str | None,
    public_hosts: tuple[str, ...],
    **options: Any,
) -> None:
    """Serve recommendations over HTTP until the process is stopped.

    What the aliases point at is followed: a promotion, a rollback or an ingest is served a second later, and no request
    is lost by it. Without keys nobody but this machine is listened to.
    """
    # One thread of arithmetic per answer: many answers at once share the cores better than one on all of them.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from ..serving import require_extra

    require_extra()
    from ..serving.server import serve as run
    from ..serving.settings import ServeSettings

    settings = ServeSettings(domains=tuple(names(domains)), keys=Path(keys) if keys else None, **options)
    settings.require_safe()
    if not with_console and (allow_changes or user_header or public_hosts):
        raise UsageError("--allow-changes, --user-header and --public-host are of the console; give --console too.")
    call.flags = {**call.flags, "threads": 1}
    workspace, desk, more = call.workspace(), None, dict[str, Any]()
    if with_console:
        from ..console.app import mount_console
        from ..console.desk import Desk
        from ..console.settings import ConsoleSettings

        desk = Desk(workspace, ConsoleSettings.beside(settings, allow_changes, user_header, public_hosts))
        more["extend"] = partial(mount_console, desk=desk)

    def listening(address: str) -> None:
        console, token = (f"{address}/console/", desk.access.token) if desk else (None, None)
        lines = [f"Listening on {address}; {address}/docs lists the routes."]
        lines += [told(console, token)] if console else []
        parts = {"address": address, "domains": list(settings.domains), "keys": keys}
        call.show({**parts, "console": console, "token": token}, "\n".join(lines))

    with suppress(KeyboardInterrupt):  # asked to stop, it has stopped
        run(workspace, settings, listening, **more)
