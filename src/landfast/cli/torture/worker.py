"""A worker of a torture: the engine that ships, as a process of its own, whose parts announce what they reach.

It loads everything and then stands by: the first line of standard input lets it begin, the others say where to wait, one JSON object a
line. Standard output is where it announces, standard error is the log.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from landfast import config, events, wiring
from landfast.cli import exits
from landfast.cli.torture.announcing import AnnouncingDisk, AnnouncingLetters, AnnouncingSink, AnnouncingSource, AnnouncingTable
from landfast.cli.torture.points import Herald, Order
from landfast.config import RouteSettings, Settings
from landfast.core.report import RunReport
from landfast.core.route import Route
from landfast.core.runner import Runner
from landfast.errors import LandfastError
from landfast.model import Stream
from landfast.observe.observation import Observation, ObserveSettings
from landfast.sinks.delta.landing.dead_letters import DeltaDeadLetters
from landfast.sinks.delta.landing.sink import DeltaSink
from landfast.sinks.delta.table.startup import open_table
from landfast.sinks.delta.upkeep.maintenance import Maintenance
from landfast.sources.kafka import KafkaSource
from landfast.system import SystemClock, stop_on_signals

_LEFT_ALONE = 5
"""The exit code of a worker whose torturer is gone."""

CLEAN_UP_SECONDS, SWEEP_SECONDS, SEEN_SECONDS = 10.0, 5.0, 2.0
"""Between two clean-ups of the log, two sweeps, and seeing a file that nobody names and removing it: no worker lives for a day."""


class Ears:
    """An `Observer` that tells the torturer what it has to know, and the log everything."""

    def __init__(self, herald: Herald, log: Observation) -> None:
        self._herald = herald
        self._log = log

    def notice(self, event: events.Event) -> None:
        """See `ports.Observer`."""
        told = _FACTS.get(type(event))
        if told is not None:
            self._herald.tell(**told(event))
        self._log.notice(event)


def _place(stream: Stream) -> list[str | int]:
    return [stream.topic, stream.partition]


# What the torturer has to know, by the kind of event.
_FACTS: Mapping[type[events.Event], Callable[[Any], Mapping[str, Any]]] = {
    events.RecordsRead: lambda event: {"read": event.records},
    events.StreamGained: lambda event: {"gained": [*_place(event.stream), event.position or 0]},
    events.StreamLost: lambda event: {"lost": _place(event.stream)},
    events.BatchLanded: lambda event: {"landed": [[*_place(span.stream), span.end] for span in event.receipt.spans]},
    events.LaneHalted: lambda event: {"halted": [*_place(event.stream), event.halt.code]},
    events.ConflictMet: lambda event: {"conflict": event.code},
    events.OutcomeResolved: lambda event: {"resolved": event.landed},
    events.Maintained: lambda event: {"maintained": event.act},
}


def _listen(herald: Herald, lines: TextIO) -> None:
    for line in lines:
        herald.obey(order_of(json.loads(line)))
    # Nobody is left to answer to. At once, without a farewell: what has not landed is not lost.
    os._exit(_LEFT_ALONE)


def order_of(said: Mapping[str, Any] | None) -> Order | None:
    """The order that was told, if any."""
    return Order(**said) if said else None


def assembled(settings: Settings, site: wiring.Site, herald: Herald) -> Runner:
    """The runner that `wiring.build` makes of such settings, but that every part announces itself."""
    run = wiring.new_run(settings.name, settings.digest(), site.clock)
    kafka: KafkaSource = wiring.kafka_source(settings, site)
    source = AnnouncingSource(kafka, herald)
    return wiring.assembled(source, source, [_route(settings, settings.routes[0], run, site, herald)], run, settings.engine, site)


def _route(settings: Settings, route: RouteSettings, run: Any, site: wiring.Site, herald: Herald) -> Route:
    disk, opener = AnnouncingDisk(herald), partial(AnnouncingTable, herald=herald)
    table = wiring.delta_settings(route)
    opening = partial(open_table, table, run, wiring.configured_columns(route.decode), site.clock, site.observer, disk=disk, opener=opener)
    with herald.during("open"):
        home = wiring.patiently(wiring.named(route), opening, settings.engine, site)
    often = replace(
        wiring.maintenance_settings(route),
        cleanup_interval_seconds=CLEAN_UP_SECONDS,
        sweep_interval_seconds=SWEEP_SECONDS,
        sweep_seen_seconds=SEEN_SECONDS,
    )
    keeper = Maintenance(often, table, site.clock, site.observer, flow=route.name, disk=disk, opener=opener)
    sink = DeltaSink(home, keeper)
    limits = wiring.flow_limits(settings.engine, route.batch, route.dead_letters, route.retry)
    decoder = wiring.decoder_of(route.decode, sink.schema, route.sink.key)
    letters = AnnouncingLetters(DeltaDeadLetters(home), herald)
    return Route(route.name, route.takes, decoder, AnnouncingSink(sink, herald), letters, limits)


def main(arguments: list[str], lines: TextIO, announcements: TextIO, log: TextIO) -> int:
    """Run the pipeline of a settings file until stopped; the exit code of `landfast run`."""
    herald = Herald(announcements.fileno())
    first = lines.readline()
    if not first:
        return _LEFT_ALONE
    begin = json.loads(first)
    herald.obey(order_of(begin["order"]))
    threading.Thread(target=_listen, args=(herald, lines), name="landfast-torture-orders", daemon=True).start()
    settings = config.load(Path(arguments[0]), {})
    if begin["instance"]:
        settings = settings.model_copy(update={"source": settings.source.model_copy(update={"instance_id": begin["instance"]})})
    clock = SystemClock()
    observation = Observation(ObserveSettings(as_json=True, secrets=wiring.secrets(settings)), clock, log)
    runners: list[Runner] = []
    stopping = threading.Event()

    def stop() -> None:
        stopping.set()
        for runner in runners:
            runner.stop()

    with stop_on_signals(stop):
        try:
            site = wiring.Site(clock, Ears(herald, observation), stopping.is_set)
            runners.append(assembled(settings, site, herald))
            if stopping.is_set():
                runners[0].stop()
            return _code(runners[0].run(), log)
        except LandfastError as error:
            log.write(f"{error.code}: {error.message}\n")
            return exits.of_error(error)
        finally:
            observation.close()


def _code(report: RunReport, log: TextIO) -> int:
    if report.error is not None:
        log.write(f"{report.error.code}: {report.error.message}\n")
    return exits.of_report(report)


if __name__ == "__main__":
    ended = main(sys.argv[1:], sys.stdin, sys.stdout, sys.stderr)
    sys.stderr.flush()
    # As the command line ends: a thread may still be inside the table's library.
    os._exit(ended)
