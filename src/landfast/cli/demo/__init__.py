"""`landfast demo`: the main job in small, on an embedded broker, killed half-way for real, then proved."""

from __future__ import annotations

from typing import Annotated

import typer

from landfast.cli import exits

RECORDS_DEFAULT = 60_000

Records = Annotated[int, typer.Option("--records", min=8_000, max=80_000, help="How many records; the embedded broker keeps no more.")]


def demo(records: Records = RECORDS_DEFAULT) -> None:
    """Produce, land, be killed half-way, go on, prove. Needs nothing, leaves nothing behind, takes less than a minute."""
    from landfast.cli.demo.story import tell

    well = tell(records, typer.echo)
    raise typer.Exit(exits.WELL if well else exits.FOUND)
