"""A runner over a person's own function: the source's group keeps how far it got."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from landfast import events
from landfast.config import Settings, from_mapping
from landfast.core.route import FlowLimits, Route, every_topic
from landfast.core.runner import Runner, Workplace
from landfast.errors import ErrorClass, Misconfigured
from landfast.model import Run
from landfast.ports import Clock, DeadLetters
from landfast.system import committers, jitter
from landfast.threads import Threads
from landfast.wiring.build import patiently
from landfast.wiring.parts import Site, client_configuration, flow_limits, kafka_settings, runner_limits, staging_threads, unguarded

SECTIONS = ("source", "batch", "engine", "retry", "dead_letters", "metrics")
"""The sections of a settings file that a service takes."""

_BATCH_SECONDS = 1.0
_BUSY_POLL_SECONDS = 0.005
_NOWHERE = "nowhere"


@dataclass(frozen=True, slots=True)
class ServiceParts:
    """A person's own part of a service. `letters_topic` is empty where records that cannot be handled halt; `calls_max` bounds halving."""

    handler: Callable[[Sequence[Any]], object]
    decode: Callable[[bytes], Any] | None
    classify: Callable[[BaseException], ErrorClass]
    letters_topic: str = ""
    calls_max: int = 0


@dataclass(frozen=True, slots=True)
class PutUp:
    """A service that is put up: what runs it, whether its function is at work, and how much that it handled no offset passes."""

    runner: Runner
    calling: Callable[[], bool]
    unkept: Callable[[], int]


def service_settings(source: Mapping[str, Any], batch: int, sections: Mapping[str, Mapping[str, Any]], letters_topic: str) -> Settings:
    """The settings of a service: those of a pipeline, whose sink is the function.

    Raises:
        Misconfigured: every fault at once.
    """
    unknown = sorted(sections.keys() - set(SECTIONS))
    if unknown:
        raise Misconfigured("CONFIG_UNKNOWN", f"no such section: {', '.join(unknown)}", next_step=f"Known are {', '.join(SECTIONS)}.")
    _refuse_twice(source, sections.get("source", {}), "source")
    _refuse_twice({"rows": batch}, sections.get("batch", {}), "batch")
    # A pipeline's settings name a table, too: this one has none, and nobody looks there.
    body: dict[str, Any] = {"name": "service", **sections, "sink": {"path": _NOWHERE}}
    body["source"] = {**source, **sections.get("source", {})}
    body["batch"] = {"rows": batch, "seconds": _BATCH_SECONDS, **sections.get("batch", {})}
    settings = from_mapping(body, label="the settings of the service")
    if settings.source.start == "latest":
        message = "source.start cannot be latest: a group whose offsets have expired looks like a new one, and would skip what it missed"
        raise Misconfigured("CONFIG_UNSAFE", message, next_step='Leave it out, or give start = "timestamp" with start_at.')
    if settings.routes[0].retry.later.delays_seconds:
        message = "retry.later: a service tries no record again later, since its letters lie in a topic"
        raise Misconfigured("CONFIG_INVALID", message, next_step="Leave it out; or land the records in a table, whose letters can be.")
    if letters_topic in settings.source.topics:
        message = f"the dead-letter topic {letters_topic} is one of the topics: its letters would be read as records, for ever"
        raise Misconfigured("CONFIG_INVALID", message, next_step="Give the dead letters a topic of their own.")
    return settings


def _refuse_twice(given: Mapping[str, Any], section: Mapping[str, Any], name: str) -> None:
    twice = sorted(given.keys() & section.keys())
    if twice:
        message = f"{name}.{twice[0]} is given twice: as an argument and in the settings"
        raise Misconfigured("CONFIG_INVALID", message, next_step="Leave it out of the settings.")


def build_service(settings: Settings, parts: ServiceParts, run: Run, site: Site) -> PutUp:
    """The runner of a service.

    Raises:
        Misconfigured: a topic is missing, or may not be read.
        Unavailable: brokers did not answer in time.
    """
    from landfast.sinks.service.records import RecordDecoder
    from landfast.sinks.service.sink import Service, ServiceSink
    from landfast.sources.kafka import KafkaSource

    chosen = replace(kafka_settings(settings), offsets="kept")
    source = KafkaSource(chosen, site.clock, site.observer)
    open_to_others = unguarded(settings)
    if open_to_others:
        site.observer.notice(events.Notice("", "CONNECTION_UNSAFE", open_to_others, "info"))
    streams = tuple(patiently(f"brokers at {settings.source.servers}", source.bounds, settings.engine, site))
    letters = _letters(settings, parts.letters_topic, source, site)
    service = Service(settings.group, parts.handler, parts.classify, parts.letters_topic, parts.calls_max)
    sink = ServiceSink(service, source.offsets, site.clock, site.observer)
    if settings.source.start != "earliest":
        found = patiently(f"the group {settings.group}", lambda: source.offsets.positions(streams), settings.engine, site)
        source.continues([stream for stream in streams if isinstance(found[stream], int)])
    route = Route(settings.group, every_topic, RecordDecoder(parts.decode), sink, letters, _limits(settings))
    limits = replace(
        runner_limits(settings.engine),
        # What is read ahead has to be handled at a stop: no more than the next batch.
        poll_records=min(settings.engine.poll_records, settings.routes[0].batch.rows),
        busy_poll_seconds=_BUSY_POLL_SECONDS,
    )
    threads = staging_threads(settings.engine)
    clock = _Attentive(site.clock, source.offsets.serve)
    workplace = Workplace(clock, lambda: Threads("landfast-decode", threads=threads), committers(), site.observer, jitter())
    return PutUp(Runner(source, source, [route], run, limits, workplace), lambda: sink.calling, lambda: sink.unkept)


@dataclass(frozen=True, slots=True)
class _Attentive:
    """A clock by which the main thread, when it waits for calls to end, goes on doing what those calls wait for.

    It waits so while partitions go to another member, and at the end: what the function finishes then is still kept.
    """

    clock: Clock
    serve: Callable[[], None]

    def now(self) -> float:
        """See `ports.Clock`."""
        return self.clock.now()

    def monotonic(self) -> float:
        """See `ports.Clock`."""
        return self.clock.monotonic()

    def sleep(self, seconds: float) -> None:
        """See `ports.Clock`."""
        self.serve()
        self.clock.sleep(seconds)


def _letters(settings: Settings, topic: str, source: Any, site: Site) -> DeadLetters:
    from landfast.sources.kafka_letters import NoLetters, TopicLetters

    if not topic:
        return NoLetters()
    if patiently(f"brokers at {settings.source.servers}", lambda: source.missing([topic]), settings.engine, site):
        message = f"no such topic for the dead letters: {topic}"
        raise Misconfigured("TOPIC_MISSING", message, next_step="Create it: letters must not go into a topic made by accident.")
    return TopicLetters(topic, client_configuration(settings), source.offsets.check, site.clock)


def _limits(settings: Settings) -> FlowLimits:
    route = settings.routes[0]
    limits = flow_limits(settings.engine, route.batch, route.dead_letters, route.retry)
    # One batch at a time: what is behind it waits where it can still be given to another member.
    return replace(limits, flight_batches_max=1)
