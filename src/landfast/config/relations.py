"""What must hold between settings, each with its reason: found out before the first read, not in the middle of the night."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from landfast.config.faults import Fault, Place
from landfast.config.options import is_uri
from landfast.config.retries import RetrySettings
from landfast.config.settings import RouteSettings, Settings, SourceSettings, stream_of
from landfast.config.upserts import upsert_faults

_PORT_MAX = 65_535
_SERVER = re.compile(
    r"(?:[A-Za-z_]{3,16}://)?(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253})|\[[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9]{1,16})?\])(?::([0-9]{1,5}))?"
)
SCHEMES = ("abfs", "abfss", "adl", "az", "azure", "file", "gs", "s3", "s3a")
"""What a table's URI may begin with: the stores that both clients of the sink know."""
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/]*)")
_ALIASES = {"s3a": "s3", "abfs": "abfss", "azure": "az", "adl": "az"}
_READ_OTHERWISE = re.compile(r"%[0-9A-Fa-f]{2}|\\|(?<![^/])_delta_log(?![^/])")
"""What deltalake makes something else of in a local path: an escape, a separator, a log. It would write here and read there."""
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


def relation_faults(settings: Settings) -> list[Fault]:
    """The faults of settings that are each sound on their own."""
    return [*_source(settings), *_engine(settings), *_routes(settings), *itertools.chain.from_iterable(_each(settings))]


def _invalid(place: Place, words: str) -> Fault:
    return Fault(place, "CONFIG_INVALID", words)


def _missing(place: Place, words: str) -> Fault:
    return Fault(place, "CONFIG_MISSING", f"is missing: {words}")


def _topics(place: Place, topics: tuple[str, ...], pattern: str | None) -> Iterator[Fault]:
    for topic in topics:
        if not _TOPIC.fullmatch(topic):
            yield _invalid((*place, "topics"), f"{topic!r} is not a topic name (letters, digits, `.`, `_`, `-`)")
    for topic in sorted({topic for topic in topics if topics.count(topic) > 1}):
        yield _invalid((*place, "topics"), f"{topic} is there twice")
    if pattern is None:
        return
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        yield _invalid((*place, "topic_pattern"), f"is not a regular expression: {error}")


def _source(settings: Settings) -> Iterator[Fault]:
    source = settings.source
    yield from _topics(("source",), source.topics, source.topic_pattern)
    if source.topics and source.topic_pattern is not None:
        yield _invalid(("source", "topic_pattern"), "give topics or topic_pattern, not both")
    if not source.topics and source.topic_pattern is None:
        if any(route.topic_pattern is not None for route in settings.routes):
            yield _missing(
                ("source", "topic_pattern"), "a route takes topics by a pattern, so give one that finds the topics of all routes"
            )
        else:
            yield _missing(("source", "topics"), "name the topics, or give topic_pattern")
    for number, server in enumerate(source.servers.split(","), start=1):
        match = _SERVER.fullmatch(server.strip())
        if match is None or not 1 <= int(match[1] or 1) <= _PORT_MAX:
            # Not shown: somebody may have written a user and a password into it.
            words = "is not host:port with a port from 1 to 65535; IPv6 addresses stand in brackets, commas between servers"
            yield _invalid(("source", "servers"), f"server {number} {words}")
    yield from _accepted(source)
    if source.start == "timestamp" and source.start_at is None:
        yield _missing(("source", "start_at"), 'start = "timestamp" needs the time')
    if source.start != "timestamp" and source.start_at is not None:
        yield _invalid(("source", "start_at"), 'has an effect only with start = "timestamp"')


def _accepted(source: SourceSettings) -> Iterator[Fault]:
    for name in source.accept_expired:
        stream = stream_of(name)
        if stream is None:
            words = "write topic[partition]@id, such as sensors[0]@Zk9hT2sVQ0a7bNf3xY1mLw, or topic[partition]"
            yield _invalid(("source", "accept_expired"), f"{name!r} names no partition: {words}")
        elif not (stream.topic in source.topics if source.topics else _found(source.topic_pattern, stream.topic)):
            yield _invalid(("source", "accept_expired"), f"the topic {stream.topic} of {name} is none of those that are read")


def _engine(settings: Settings) -> Iterator[Fault]:
    engine = settings.engine
    yield from _retry(("engine", "retry"), engine.retry)
    # The engine polls between two acts of its own; an act as long as the interval would lose the membership.
    if engine.maintain_seconds * 2 > settings.source.poll_interval_seconds_max:
        yield _invalid(("engine", "maintain_seconds"), "must not be longer than half of source.poll_interval_seconds_max")


def _retry(place: Place, retry: RetrySettings) -> Iterator[Fault]:
    if retry.first_wait_seconds > retry.wait_seconds_max:
        yield _invalid((*place, "first_wait_seconds"), "must not be longer than wait_seconds_max: waits only grow")
    if retry.wait_seconds_max > retry.total_seconds:
        yield _invalid((*place, "wait_seconds_max"), "must not be longer than total_seconds: one wait would use up all the time")


def _routes(settings: Settings) -> Iterator[Fault]:
    routes = settings.routes
    for index, route in enumerate(routes):
        place: Place = ("routes", index)
        earlier = routes[:index]
        if len(routes) > 1 and any(other.name == route.name for other in earlier):
            yield _invalid((*place, "name"), f"{route.name} is the name of two routes")
        for other in earlier:
            yield from _same_table(place, route, other)
    for topic in dict.fromkeys(settings.source.topics):
        takers = [route.name for route in routes if route.takes(topic)]
        if not takers:
            yield _invalid(("source", "topics"), f"no route takes the topic {topic}: its records would land nowhere")
        if len(takers) > 1:
            yield _invalid(("routes",), f"the topic {topic} is taken by the routes {' and '.join(takers)}: every record has one place")
    named = {topic for route in routes for topic in route.topics}
    if settings.source.topics:
        for topic in sorted(named - set(settings.source.topics)):
            yield _invalid(("routes",), f"the topic {topic} of a route is not in source.topics: it would never be read")
    for topic in sorted(topic for topic in named if not _found(settings.source.topic_pattern, topic)):
        yield _invalid(("routes",), f"the topic {topic} of a route does not match source.topic_pattern: it would never be read")


def _found(pattern: str | None, topic: str) -> bool:
    """Whether a pattern that is one finds the topic; without a pattern there is nothing to say."""
    try:
        return pattern is None or re.search(pattern, topic) is not None
    except (re.error, OverflowError, RecursionError):
        return True


def _same_table(place: Place, route: RouteSettings, other: RouteSettings) -> Iterator[Fault]:
    own, others = _tables(route), _tables(other)
    # Two committers on one table would refuse each other for ever; dead letters of one among the rows of the other would be worse.
    if own & others:
        yield _invalid((*place, "sink", "path"), f"the routes {other.name} and {route.name} share a table: give each its own")
    # What lies in a table's folder and is not named by its log counts as left over.
    elif any(f"{one}/".startswith(f"{outer}/") for one, outer in [*itertools.product(own, others), *itertools.product(others, own)]):
        words = f"the tables of the routes {other.name} and {route.name} lie one inside the other: give each a folder of its own"
        yield _invalid((*place, "sink", "path"), words)


def _tables(route: RouteSettings) -> set[str]:
    """The folders of a route: its table, and what is kept beside it."""
    path = _spelt_alike(route.sink.path)
    return {path, f"{path}__dead_letters", f"{path}__trail", f"{path}__spans"}


def _spelt_alike(path: str) -> str:
    """A path or URI as every other spelling of the same place gives it, as far as that can be seen from here."""
    if _URI.match(path) is None:
        return path.rstrip("/")
    scheme, rest = path.rstrip("/").split("://", 1)
    known = _ALIASES.get(scheme.lower(), scheme.lower())
    return rest if known == "file" else f"{known}://{rest}"


def _each(settings: Settings) -> Iterator[Iterator[Fault]]:
    for index, route in enumerate(settings.routes):
        yield _route(settings, ("routes", index), route)


def _later(place: Place, route: RouteSettings) -> Iterator[Fault]:
    later = route.retry.later
    if not later.delays_seconds:
        for setting in sorted(later.model_fields_set - {"delays_seconds"}):
            yield _invalid((*place, setting), "has an effect only with delays_seconds")


def _location(place: Place, path: str) -> Iterator[Fault]:
    """What is wrong with a table's path or URI on the face of it."""
    known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
    if "\0" in path:
        yield _invalid(place, "holds a NUL character, which no path may have")
        return
    uri = _URI.match(path)
    if uri is None:
        schemes = (part.partition(":")[0].lower() for part in path.split("/") if ":" in part)
        for scheme in (scheme for scheme in schemes if scheme in SCHEMES):
            yield _invalid(place, f"is no URI: write {scheme}:// with two slashes")
        odd = _READ_OTHERWISE.search(path)
        if odd is not None:
            yield _invalid(place, f"holds {odd[0]!r}, which the table's library takes for something else than a folder's name")
        return
    scheme, bucket = uri[1].lower(), uri[2]
    if not is_uri(path):
        yield _invalid(place, "is no URI: its bucket is written with characters that a host cannot have")
        return
    if scheme not in SCHEMES:
        yield _invalid(place, f"{scheme}:// is no kind of store that is known; known are {known}, and paths of local folders")
    elif scheme != "file" and not bucket:
        yield _invalid(place, f"names no bucket: {scheme}://bucket/table")


def _route(settings: Settings, place: Place, route: RouteSettings) -> Iterator[Fault]:
    decode, batch, sink = route.decode, route.batch, route.sink
    base = settings.engine.retry
    yield from _retry((*place, "retry"), route.retry.over(base))
    for error_class, retry in route.retry.by_class(base).items():
        yield from _retry((*place, "retry", error_class.value), retry)
    yield from _later((*place, "retry", "later"), route)
    yield from _location((*place, "sink", "path"), sink.path)
    if len(settings.routes) > 1 or route.topics != settings.source.topics:
        yield from _topics(place, route.topics, route.topic_pattern)
        if not route.topics and route.topic_pattern is None:
            yield _missing((*place, "topics"), "name the topics, or give topic_pattern")
    # A lane that may not hold one batch is held before the batch is full: every batch would wait for its age.
    if batch.bytes > settings.engine.memory_bytes:
        yield _invalid(
            (*place, "batch", "bytes"),
            f"must not be more than engine.memory_bytes ({settings.engine.memory_bytes} bytes): it would never be full",
        )
    if decode.format == "raw" and decode.columns:
        yield _invalid((*place, "decode", "columns"), 'must be empty with format = "raw", which has one column of its own')
    if decode.columns:
        for column in sink.partition_by:
            if column not in decode.columns and not column.startswith("_"):
                yield _invalid((*place, "sink", "partition_by"), f"{column} is not among decode.columns")
    yield from upsert_faults(place, decode, sink)
    for column in sorted({column for column in sink.partition_by if sink.partition_by.count(column) > 1}):
        yield _invalid((*place, "sink", "partition_by"), f"{column} is there twice")
