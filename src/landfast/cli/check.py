"""`landfast check`: everything that can be known before the first read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import typer

from landfast.cli import exits
from landfast.cli.run import AsJson, SettingsFile
from landfast.cli.screen import Screen
from landfast.cli.status import streams_of
from landfast.codes import CODES
from landfast.errors import Halted, LandfastError, together

if TYPE_CHECKING:
    from landfast.config import RouteSettings, Settings
    from landfast.model import Bounds, Stream
    from landfast.wiring import Site


@dataclass(frozen=True, slots=True)
class Looked:
    """One thing that was looked at: what is well with it, in words, or what is not."""

    subject: str
    words: str = ""
    findings: tuple[LandfastError, ...] = field(default=())


def check(file: SettingsFile, as_json: AsJson = False) -> None:
    """Look at settings, brokers, topics and tables, and write nothing that stays. Exits 1 when something is found."""
    from landfast import config, wiring
    from landfast.system import SystemClock

    settings = config.load(file)
    screen = Screen(as_json=as_json, secrets=wiring.secrets(settings))
    site = wiring.Site(SystemClock(), wiring.Silence())
    found: list[LandfastError] = []
    well: list[Looked] = []
    for looked in _look(settings, site):
        found += looked.findings
        well += [] if looked.findings else [looked]
        if not as_json and not looked.findings:
            screen.say(f"well   {looked.subject}: {looked.words}")
        for finding in looked.findings if as_json else together(looked.findings):
            screen.show_error(finding)
    guarantee = wiring.guarantee()
    if as_json:
        screen.say(_as_object(settings, guarantee, well, found))
    else:
        screen.say(f"\n{guarantee.level}: {guarantee.reason}.")
        screen.say(f"{len(found)} {'finding' if len(found) == 1 else 'findings'}" if found else "Nothing found: `landfast run` may start.")
    raise typer.Exit(exits.FOUND if found else exits.WELL)


def _look(settings: Settings, site: Site) -> Iterator[Looked]:
    from landfast import wiring

    yield Looked("settings", f"pipeline {settings.name}, group {settings.group}, digest {settings.digest()[:12]}")
    subject = f"source {settings.source.servers}"
    bounds: Mapping[Stream, Bounds] = {}
    try:
        words, bounds = wiring.look_at_source(settings, site)
        yield Looked(subject, words)
    except LandfastError as error:
        yield Looked(subject, findings=(error.at(subject),))
    for route in settings.routes:
        yield _route(settings, route, bounds)


def _route(settings: Settings, route: RouteSettings, bounds: Mapping[Stream, Bounds]) -> Looked:
    from landfast import wiring

    subject = wiring.named(route)
    try:
        words, problems, pipeline_id = wiring.look_at_sink(settings, route)
        streams = () if problems else wiring.concerning(route)(streams_of)(settings, route, bounds, pipeline_id)
    except LandfastError as error:
        return Looked(subject, findings=(error,))
    halts = tuple(Halted(one.state, one.message, next_step=one.next_step).at(subject) for one in streams if one.state in CODES)
    accepted = [one.message for one in streams if one.message and one.state not in CODES]
    return Looked(subject, "; ".join([words, *accepted]), (*problems, *halts))


def _as_object(settings: Settings, guarantee: Any, well: list[Looked], found: list[LandfastError]) -> dict[str, Any]:
    return {
        "pipeline": settings.name,
        "settings": settings.effective(),
        "guarantee": {"level": str(guarantee.level), "reason": guarantee.reason},
        "well": [{"subject": looked.subject, "words": looked.words} for looked in well],
        "findings": [{"code": error.code, "message": error.message, "where": error.place, "next": error.next_step} for error in found],
    }
