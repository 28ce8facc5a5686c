"""A look at what settings point to, before anything is read or written: for `check` and `init`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from landfast.config import RouteSettings, Settings
from landfast.config.options import mask_uri
from landfast.errors import LandfastError, Misconfigured
from landfast.model import Bounds, Guarantee, Stream
from landfast.observe.report import counted
from landfast.ports import Extent
from landfast.wiring.parts import Site, accepted_losses, configured_columns, delta_settings, kafka_source, rereader, unguarded

_LINES_TOLD_MAX = 10


def guarantee() -> Guarantee:
    """What the sinks of a pipeline promise."""
    from landfast.sinks.delta.landing.sink import GUARANTEE

    return GUARANTEE


def shown_path(route: RouteSettings) -> str:
    """The table's path without secrets."""
    return mask_uri(route.sink.path)


def named(route: RouteSettings) -> str:
    """A route with its table, as errors and findings name it."""
    return f"route {route.name} → {shown_path(route)}"


@contextmanager
def concerning(route: RouteSettings) -> Iterator[None]:
    """Errors that leave this block say which route and table they concern: with several routes nobody could guess."""
    try:
        yield
    except LandfastError as error:
        error.at(named(route))
        raise


def columns_left_out(route: RouteSettings, table: Iterable[str]) -> str:
    """What becomes of the table's columns that the settings do not name, in words; empty where there are none."""
    columns = configured_columns(route.decode)
    grows = route.decode.format == "json" and route.decode.unknown_fields == "evolve"
    left = [] if columns is None or grows else [name for name in table if name not in {*columns.names, "_rescued"}]
    if not left:
        return ""
    fields = {"json rescue": ", and fields of these names go to _rescued", "json dead": ", and a field of such a name makes a dead letter"}
    ending = fields.get(f"{route.decode.format} {route.decode.unknown_fields}", "")
    return f"the settings do not name the table's columns {', '.join(left)}: they stay null{ending}"


def look_at_source(settings: Settings, site: Site) -> tuple[str, Mapping[Stream, Bounds]]:
    """What the brokers say of the topics, in words, and what the log has of them.

    Raises:
        Misconfigured: a topic is missing or may not be read, or the group may not be joined.
        Unavailable: nobody answers.
    """
    source = kafka_source(settings, site)
    bounds = bounds_of(settings, source)
    source.preflight()
    found = {stream.topic for stream in bounds}
    held = sum(extent.end - extent.first for extent in bounds.values())
    words = f"{counted(len(found), 'topic')}, {counted(len(bounds), 'partition')}, at most {counted(held, 'record')} in the log"
    idle = idle_acceptances(settings, bounds)
    told = {"ACCEPTANCE_IDLE": idle, "CONNECTION_UNSAFE": unguarded(settings)}
    return "; ".join([words, *(f"{code}: {said}" for code, said in told.items() if said)]), bounds


def bounds_of(settings: Settings, extent: Extent) -> Mapping[Stream, Bounds]:
    """What the log has of the topics, each of which is there and belongs to one route.

    Raises:
        Misconfigured: a topic is missing, may not be read, or has no route of its own.
        Unavailable: nobody answers.
    """
    bounds = extent.bounds()
    found = {stream.topic for stream in bounds}
    named = {topic for route in settings.routes for topic in route.topics}
    missing = sorted(named.union(settings.source.topics) - found)
    if missing or not found:
        words = f"no such topic: {', '.join(missing)}" if missing else f"no topic matches {settings.source.topic_pattern}"
        raise Misconfigured("TOPIC_MISSING", words, next_step="Create it, or correct source.topics or source.topic_pattern.")
    for topic in sorted(found):
        takers = [route.name for route in settings.routes if route.takes(topic)]
        if len(takers) != 1:
            words = f"taken by the routes {' and '.join(takers)}" if takers else "taken by no route: its records would land nowhere"
            raise Misconfigured("CONFIG_INVALID", f"the topic {topic} is {words}", next_step="Give every topic exactly one route.")
    return bounds


def idle_acceptances(settings: Settings, bounds: Mapping[Stream, Bounds]) -> str:
    """The lines of `source.accept_expired` that have no effect on what the log is today, in words; empty where there are none.

    They are told and not refused: a line that outlives its topic must not stop what is well.
    """
    idle = tuple(accepted_losses(settings).idle(bounds))
    more = f"; and {len(idle) - _LINES_TOLD_MAX} more" if len(idle) > _LINES_TOLD_MAX else ""
    return f"source.accept_expired has lines without effect: {'; '.join(idle[:_LINES_TOLD_MAX])}{more}" if idle else ""


def look_at_sink(settings: Settings, route: RouteSettings) -> tuple[str, tuple[LandfastError, ...], str | None]:
    """What lies at the table's path, in words, what would keep a run from starting, and the pipeline's id there. Leaves nothing behind.

    Raises:
        Misconfigured: the columns or the store cannot be used.
        Unavailable: the store does not answer, or cannot be written.
    """
    from landfast.sinks.delta.proof.inspection import inspect, probe_place

    with concerning(route):
        columns = configured_columns(route.decode)
        chosen = delta_settings(route)
        inspection = inspect(chosen, settings.name, columns)
        probe_place(chosen)
    words = "will be created" if inspection.version is None else f"a table at version {inspection.version}"
    left_out = "" if inspection.shape is None else columns_left_out(route, inspection.shape.data_schema.names)
    words += f"; {left_out}" if left_out else ""
    words += f"; {_later_words(route)}" if route.retry.later.delays_seconds else ""
    if inspection.hollow:
        lost = ", ".join(inspection.hollow)
        words += f"; TAIL_EMPTY: {lost} is empty or torn, as a power cut leaves it: a run fills it and reads those records again"
    problems = tuple(problem.at(named(route)) for problem in inspection.problems)
    return words, problems, inspection.pipeline_id(settings.name, chosen.adopt)


def _later_words(route: RouteSettings) -> str:
    later = route.retry.later
    which = f"of the reasons {', '.join(later.reasons)} " if later.reasons else ""
    after = ", ".join(f"{seconds:g} s" for seconds in later.delays_seconds)
    return f"dead letters {which}are tried again after {after}, while no more than {later.waiting_records_max:,} wait"


def samples(settings: Settings, site: Site, records: int) -> list[bytes]:
    """About `records` values of the topics, the oldest and the newest. Joins no group.

    Raises:
        Misconfigured: a topic is missing or may not be read.
        Unavailable: nobody answers.
    """
    return [value for values in rereader(settings, site).sample(records).values() for value in values]
