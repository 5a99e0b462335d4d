"""`hubspoke demo`, `init` and `doctor`: the first commands of a newcomer."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from .call import Call, command
from .options import dry_run
from .output import facts, records_table, tell, write_text


@command(example="hubspoke demo")
@click.option("--fast", is_flag=True, help="Smaller data and fewer steps: a look at the story in a minute or two.")
@click.option("--report", metavar="FILE", help="Where the HTML report goes (default: in the workspace).")
def demo(call: Call, fast: bool, report: str | None) -> None:
    """Launch a category on real data, start to recommendations, and write a report."""
    from ..demo.run import run_demo

    def echo(text: str) -> None:
        call.progress.close()
        (tell if call.json else write_text)(text)

    result = run_demo(call.new_workspace(), fast=fast, report=None if report is None else Path(report), echo=echo)
    call.show(result, f"Report: {result.report}")


@command(example=("hubspoke init", "HUBSPOKE_REGISTRY_URL=postgresql+psycopg://shop@db/hubspoke hubspoke init"))
@dry_run
def init(call: Call, dry_run: bool) -> None:
    """Make a workspace: its folders and its registry, with the newest schema."""
    result = call.unopened().init(dry_run)
    state = "is up to date" if result.cached else "would be made" if result.dry_run else "is ready"
    schema = result.schema if result.before in (None, result.schema) else f"{result.before} -> {result.schema}"
    where = [(name, getattr(result, name)) for name in ("workspace", "registry", "artifacts")]
    call.show(result, f"The workspace {state}.\n{facts([*where, ('schema', schema)])}")


@command(example="hubspoke doctor --verify")
@click.option("--verify", is_flag=True, help="Hash every artifact that the registry names.")
@click.option("--sweep", is_flag=True, help="Remove what killed processes left half-written.")
def doctor(call: Call, verify: bool, sweep: bool) -> None:
    """Look whether installation, weights, registry, artifacts and disk are in order."""
    diagnosis = call.unopened().doctor(verify, sweep)
    columns = {"status": "status", "check": "name", "found": "message"}
    call.show(diagnosis, lambda _: records_table(diagnosis.checks, columns))
    sys.exit(diagnosis.exit_code)
