"""A runner from settings or from parts: opens tables, connects nothing else."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from landfast import events
from landfast.config import EngineSettings, RouteSettings, Settings
from landfast.core.retry import Backoff
from landfast.core.route import Route
from landfast.core.runner import Runner, Workplace
from landfast.errors import LandfastError, Unavailable
from landfast.model import Run, Stream
from landfast.ports import Clock, Decoder, Extent, Source
from landfast.system import committers, jitter
from landfast.threads import Threads
from landfast.wiring.look import bounds_of, columns_left_out, concerning, guarantee, idle_acceptances, named
from landfast.wiring.parts import (
    Site,
    configured_columns,
    decoder_of,
    delta_settings,
    flow_limits,
    kafka_source,
    maintenance_of,
    open_policy,
    runner_limits,
    staging_threads,
    unguarded,
)
from landfast.wiring.unopened import Unopened

T = TypeVar("T")
_WAIT_TICK_SECONDS = 0.1


def new_run(pipeline: str, settings_digest: str, clock: Clock) -> Run:
    """A run that begins now. Its id sorts by time."""
    started_at = clock.now()
    moment = datetime.fromtimestamp(started_at, UTC)
    return Run(f"{moment:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}", pipeline, settings_digest, started_at)


def build(settings: Settings, run: Run, site: Site, decoders: Mapping[str, Decoder] | None = None) -> Runner:
    """The runner of a pipeline: one source, one flow per route. `decoders` stand in for those of the settings, by route.

    Tables are opened, and created where they are missing, so all that is wrong with them is found out here. A route whose table cannot be
    used is broken from the start and the others run, as if it had broken while running.

    Raises:
        Misconfigured: the settings, or the topics they point to, cannot be used; or none of the tables can.
        Unavailable: brokers, or the stores of all routes, did not answer in time.
        Broken: no table can be used, and the first is damaged.
    """
    for chosen in settings.routes:
        _check_settings(chosen)
    source = kafka_source(settings, site)
    open_to_others = unguarded(settings)
    if open_to_others:
        # It is the operator's choice, so it is said and does not count as trouble.
        site.observer.notice(events.Notice("", "CONNECTION_UNSAFE", open_to_others, "info"))
    # Before any table is made: settings that name a missing topic must leave nothing behind.
    bounds = patiently(f"brokers at {settings.source.servers}", partial(bounds_of, settings, source), settings.engine, site)
    idle = idle_acceptances(settings, bounds)
    if idle:
        site.observer.notice(events.Notice("", "ACCEPTANCE_IDLE", idle))
    routes: list[Route] = []
    errors: dict[str, LandfastError] = {}
    for chosen in settings.routes:
        try:
            route = route_of(settings, chosen, run, site, (decoders or {}).get(chosen.name))
            if settings.source.start != "earliest":
                begun = concerning(chosen)(partial(_begun, route, chosen, tuple(bounds)))
                source.continues(patiently(named(chosen), begun, settings.engine, site))
        except LandfastError as error:
            if site.stopping():
                raise
            errors[chosen.name] = error
            route = _unopened(settings, chosen, error)
        routes.append(route)
    if len(errors) == len(routes):
        raise next(iter(errors.values()))
    runner = assembled(source, source, routes, run, settings.engine, site)
    for flow in runner.flows:
        wrong = errors.get(flow.route.name)
        if wrong is not None:
            site.observer.notice(events.Notice(flow.route.name, wrong.code, f"this route is not read: {wrong.message}", "error"))
            flow.fail(wrong)
    return runner


def _check_settings(route: RouteSettings) -> None:
    """What is wrong with the settings themselves is refused before any table is opened, whichever route it concerns.

    Raises:
        Misconfigured: a column has no type, or a secret is not where the settings say.
    """
    with concerning(route):
        delta_settings(route)
        configured_columns(route.decode)


def _unopened(settings: Settings, chosen: RouteSettings, error: LandfastError) -> Route:
    absent = Unopened(error, guarantee())
    limits = flow_limits(settings.engine, chosen.batch, chosen.dead_letters, chosen.retry)
    return Route(chosen.name, chosen.takes, absent, absent, absent, limits)


def _begun(route: Route, chosen: RouteSettings, streams: Collection[Stream]) -> list[Stream]:
    """Those of the streams that the route's table holds something of, or whose topic takes the place of one that it holds."""
    taken = tuple(stream for stream in streams if route.takes(stream.topic))
    positions = route.sink.positions(taken)
    return [stream for stream in taken if isinstance(positions[stream], int) or stream.incarnation in chosen.sink.accept_topic_ids]


def assembled(source: Source, extent: Extent, routes: Sequence[Route], run: Run, engine: EngineSettings, site: Site) -> Runner:
    """The runner over these parts."""
    threads = staging_threads(engine)
    workplace = Workplace(site.clock, lambda: Threads("landfast-stage", threads=threads), committers(), site.observer, jitter())
    return Runner(source, extent, routes, run, runner_limits(engine), workplace)


def route_of(settings: Settings, route: RouteSettings, run: Run, site: Site, decoder: Decoder | None) -> Route:
    """A route with its table open."""
    from landfast.sinks.delta.landing.dead_letters import DeltaDeadLetters
    from landfast.sinks.delta.landing.sink import DeltaSink
    from landfast.sinks.delta.retrying.retries import DeltaRetries

    home = opened_table(settings, route, run, site)
    with concerning(route):
        sink = DeltaSink(home, maintenance_of(route, site))
        chosen = decoder or decoder_of(route.decode, sink.schema, route.sink.key)
        left_out = "" if decoder else columns_left_out(route, sink.schema().names)
    if left_out:
        site.observer.notice(events.Notice(route.name, "COLUMNS_LEFT_OUT", left_out, "info"))
    limits = flow_limits(settings.engine, route.batch, route.dead_letters, route.retry)
    delays = route.retry.later.delays_seconds
    if not delays:
        return Route(route.name, route.takes, chosen, sink, DeltaDeadLetters(home), limits)
    retries = DeltaRetries(home, sink, chosen, delays)
    return Route(route.name, route.takes, chosen, sink, retries, limits, retries)


def opened_table(settings: Settings, route: RouteSettings, run: Run, site: Site) -> Any:
    """The table of a route, as it is opened at a start: a `TableHome`.

    Raises:
        Misconfigured: it cannot be used as it is.
        Unavailable: its store did not answer in time.
        Broken: it is damaged.
    """
    from landfast.sinks.delta.table.startup import open_table

    with concerning(route):
        opening = partial(open_table, delta_settings(route), run, configured_columns(route.decode), site.clock, site.observer)
        return patiently(named(route), concerning(route)(opening), settings.engine, site)


def patiently(target: str, call: Callable[[], T], engine: EngineSettings, site: Site) -> T:
    """The result of `call`, tried again while the target that it needs does not answer, until `engine.open_wait_seconds` have passed.

    Raises:
        Unavailable: the last failure, when the time is over or the pipeline was asked to stop.
    """
    backoff = Backoff(open_policy(engine))
    draw = jitter()
    site.observer.notice(events.OpeningBegan("", target, engine.open_wait_seconds))
    while True:
        try:
            return call()
        except Unavailable as error:
            wait = backoff.failed(site.clock.monotonic(), draw())
            if wait is None or site.stopping():
                raise
            message = f"{error.place}: {error.message}" if error.place else error.message
            site.observer.notice(events.RetryScheduled("", error.code, error.kind, backoff.attempt, wait, message))
        while backoff.waiting(site.clock.monotonic()) and not site.stopping():
            site.clock.sleep(_WAIT_TICK_SECONDS)
