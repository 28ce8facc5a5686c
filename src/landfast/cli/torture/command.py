"""`landfast torture`: real workers on a real log, killed, stopped and held again and again, and then the count."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from landfast.cli import exits
from landfast.cli.options import StorageOption

Minutes = Annotated[float, typer.Option("--minutes", min=0.1, max=10_080, help="How long to torture; settling and judging come after.")]
Kills = Annotated[int | None, typer.Option("--kills", min=1, max=1_000_000, help="End after so many kills, if that comes first.")]
Servers = Annotated[str | None, typer.Option("--servers", help="Bootstrap servers; without them an embedded broker is used.")]
Folder = Annotated[
    str | None,
    typer.Option("--path", help="Where the table is to lie: a folder, or a URI such as s3://bucket/prefix; else a temporary folder."),
]
Workers = Annotated[int, typer.Option("--workers", min=1, max=64, help="How many workers share the work.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, max=2**31, help="What chance begins with; drawn if not given.")]
Report = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the report there, as JSON.")]
Keep = Annotated[bool, typer.Option("--keep", help="Leave topics, group, table and logs where they are.")]
Rate = Annotated[int, typer.Option("--rate", metavar="RECORDS", min=100, max=1_000_000, help="Records a second, at most.")]
Option = Annotated[
    list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="A librdkafka setting; secrets as KEY=env:NAME or KEY=file:PATH.")
]

app = typer.Typer(add_completion=False)


@app.command("torture")
def torture(  # noqa: PLR0913, PLR0917 — the options of a command have no other place
    minutes: Minutes = 5.0,
    kills: Kills = None,
    servers: Servers = None,
    path: Folder = None,
    workers: Workers = 3,
    seed: Seed = None,
    report: Report = None,
    keep: Keep = False,
    rate: Rate = 4000,
    option: Option = None,
    storage_option: StorageOption = None,
) -> None:
    """Kill, stop and hold workers at every fault point while they land a load; then count every record. Exits 1 if one is not in its place.

    Works in topics, a group and a table of its own, and removes them. Other topics of the cluster are not touched.
    """
    from landfast.cli.screen import Screen
    from landfast.cli.torture.story import Wish, tell
    from landfast.errors import LandfastError

    wish = Wish(minutes, kills, servers, path, workers, seed, report, keep, rate, tuple(option or ()), tuple(storage_option or ()))
    try:
        well = tell(wish)
    except LandfastError as error:
        # Here --json names a file; what goes wrong is told to a person.
        Screen(as_json=False).show_error(error)
        raise typer.Exit(exits.of_error(error)) from None
    raise typer.Exit(exits.WELL if well else exits.FOUND)
