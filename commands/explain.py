"""`hubspoke explain`: why a category is shown what it is shown, in words, as JSON and as a picture."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import UsageError
from .call import Call, command_options
from .explain_text import explained
from .options import how_many, names


@click.command()
@click.argument("ref")
@click.option("--session", metavar="A,B,C", help="Item ids of the session, oldest first.")
@click.option("--user", metavar="ID", help="A known user: their recorded history is the session.")
@how_many(5)
@click.option("--exclude-seen", is_flag=True, help="Leave out items of the session.")
@click.option("--item", "items", metavar="ID", multiple=True, help="Explain this item instead of the list; repeatable.")
@click.option("--plot", metavar="FILE.svg", help="Draw what each event brought to each item into FILE.svg or FILE.png.")
@command_options
def explain(
    call: Call,
    ref: str,
    session: str | None,
    user: str | None,
    k: int,
    exclude_seen: bool,
    items: tuple[str, ...],
    plot: str | None,
) -> None:
    """Why REF recommends what it recommends after a session: events behind each item, and what its score is made of.

    \b
    Example:
      hubspoke explain garden --session 1041,977 -k 3 --plot why.svg
    """
    from ..reports.explanation import plot_file, write_plot

    if session is not None and user is not None:
        raise UsageError("--session and --user both say what was seen; give one of them.")
    # A picture that cannot be written is told before the models are loaded.
    file = None if plot is None else plot_file(Path(plot))
    result = call.workspace().explain(ref, names(session), user=user, k=k, exclude_seen=exclude_seen, items=items)
    if file is not None:
        write_plot(result, file)
        call.note(f"The picture is in {file}.")
    call.show(result, lambda: explained(result))
