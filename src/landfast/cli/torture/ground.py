"""Where a torture takes place: topics, group, table and settings of its own, and nothing of them left behind."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from landfast import config, wiring
from landfast.cli.torture import cluster
from landfast.cli.torture.points import LOCAL, POINTS
from landfast.cli.torture.records import COLUMNS, Lane, lanes
from landfast.config import Settings
from landfast.errors import LandfastError, Misconfigured

PARTITIONS = 4
TOPICS = ("busy", "mixed", "quiet")

_EMBEDDED_BACKLOG = 6_000
"""The embedded broker keeps 5 MB of a partition: what has not landed must never be more."""
_BACKLOG = 200_000

_SESSION_SECONDS, _EMBEDDED_SESSION_SECONDS = 6.0, 2.0
"""Brokers allow no less than the first unless they are told to."""

_SETTINGS = """\
name = "{name}"
[source]
servers = {servers}
topics = {topics}
group = "{name}"
topic_ids = "{topic_ids}"
protocol = "{protocol}"
session_seconds = {session_seconds}
poll_interval_seconds_max = 15.0
[source.options]
{options}
[decode.columns]
{columns}
[sink]
path = {path}
[sink.storage_options]
{storage_options}
[sink.maintenance]
checkpoint_commits = 20
compaction_seconds = 2.0
file_bytes_small = "1 MiB"
[batch]
rows = 20000
seconds = 0.3
[engine]
memory_bytes = "128 MiB"
open_wait_seconds = 120.0
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the place is to be. `servers` None: an embedded broker; `path` None: a temporary folder. `keep`: leave it at the end."""

    name: str
    servers: str | None = None
    path: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    storage_options: Mapping[str, str] = field(default_factory=dict)
    keep: bool = False

    @property
    def session_seconds(self) -> float | None:
        """How long the group is to wait for a worker that went without a word, if that was said.

        Raises:
            Misconfigured: it is no number.
        """
        said = self.options.get("session.timeout.ms")
        if said is not None and not said.isdigit():
            raise Misconfigured("CONFIG_INVALID", "--option session.timeout.ms: write it as a whole number of milliseconds")
        return None if said is None else int(said) / 1000

    @property
    def in_store(self) -> bool:
        """Whether the table lies in an object store, and only all else in a folder."""
        return self.path is not None and "://" in self.path

    @property
    def home(self) -> str:
        """Where in the store everything lies."""
        return f"{(self.path or '').rstrip('/')}/{self.name}"


@dataclass(frozen=True, slots=True)
class Ground:
    """The place.

    client           what a client of the brokers is made with, secrets resolved
    embedded         the broker is ours, forgets old records, and knows neither topic ids nor transactions
    session_seconds  how long the group waits for a worker that went without a word
    table            where the table lies: a path, or a URI of an object store; the dead letters lie beside it
    points           the fault points that workers pass here
    """

    name: str
    folder: Path
    file: Path
    settings: Settings
    lanes: tuple[Lane, ...]
    client: Mapping[str, str]
    embedded: bool
    session_seconds: float

    @property
    def table(self) -> str:
        """See above."""
        return self.settings.routes[0].sink.path

    @property
    def whereabouts(self) -> str:
        """Where all of it lies, for whoever wanted to keep it."""
        from landfast.sinks.delta.files.paths import shown

        table = f"the table {shown(self.table)} with its dead letters beside it, " if self.in_store else ""
        return f"{self.folder}, {table}topics and group {self.name}"

    @property
    def letters(self) -> str:
        """Where the dead letters lie."""
        return f"{self.table}__dead_letters"

    @property
    def in_store(self) -> bool:
        """Whether the table lies in an object store."""
        return "://" in self.table

    @property
    def storage_options(self) -> Mapping[str, str]:
        """How the store is reached, secrets resolved."""
        return self.settings.routes[0].sink.storage_options.resolve("sink.storage_options")

    @property
    def points(self) -> tuple[str, ...]:
        """See above."""
        return tuple(point for point in POINTS if not self.in_store or point not in LOCAL)

    def load(self, seed: int, records_per_second_max: int) -> dict[str, Any]:
        """What the load is told."""
        return {
            "client": dict(self.client),
            "lanes": [[lane.topic, lane.partition, lane.weight] for lane in self.lanes],
            "seed": seed,
            "ledger": str(self.folder / "ledger"),
            "identity": "" if self.embedded else self.name,
            "records_per_second_max": records_per_second_max,
            "backlog_records_max": _EMBEDDED_BACKLOG if self.embedded else _BACKLOG,
        }


@contextmanager
def ground(wanted: Wanted, tell: Callable[[str], None]) -> Iterator[Ground]:
    """Make the place, and take it away at the end, however that comes; `tell` hears of what could not be taken away.

    Raises:
        Misconfigured: the settings are wrong, or access is refused.
        Unavailable: the brokers or the store do not answer.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(_folder(wanted))
        if wanted.servers is None:
            from landfast.testing.kafka import EmbeddedKafka

            broker = stack.enter_context(EmbeddedKafka())
            servers = broker.servers
            # A worker that is quicker than the load would find none.
            broker.create_topics(_topics_of(wanted.name))
        else:
            servers = wanted.servers
        place = _laid_out(wanted, folder, servers)
        if place.in_store:
            stack.enter_context(_prefix(wanted, place.storage_options, tell))
        if wanted.servers is not None:
            admin = stack.enter_context(cluster.connected(place.client, servers))
            names = list(place.settings.source.topics)
            if place.settings.source.protocol == "consumer":
                session_seconds = stack.enter_context(cluster.session_of(admin, place.name, wanted.session_seconds, tell))
                place = replace(place, session_seconds=session_seconds)
            made = (
                cluster.lasting_topics(admin, names, PARTITIONS)
                if wanted.keep
                else cluster.topics(admin, names, PARTITIONS, place.name, tell)
            )
            stack.enter_context(made)
        yield place


@contextmanager
def _folder(wanted: Wanted) -> Iterator[Path]:
    path = None if wanted.in_store else wanted.path
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"{wanted.name}-")) if path is None else Path(path).absolute() / wanted.name
        folder.mkdir(parents=True, exist_ok=path is None)
    except OSError as error:
        message = f"--path: {path} cannot be written to ({error.strerror})"
        raise Misconfigured("CONFIG_INVALID", message, next_step="Name a local folder that can be written to.") from error
    try:
        yield folder
    finally:
        if not wanted.keep:
            shutil.rmtree(folder, ignore_errors=True)


def _laid_out(wanted: Wanted, folder: Path, servers: str) -> Ground:
    name, embedded = wanted.name, wanted.servers is None
    topics = _topics_of(name)
    options = dict(wanted.options)
    protocol = options.pop("group.protocol", "classic")
    if protocol == "consumer":
        # It is a setting of the group then.
        options.pop("session.timeout.ms", None)
    session_seconds = _EMBEDDED_SESSION_SECONDS if embedded else _SESSION_SECONDS
    file = folder / "pipeline.toml"
    text = _SETTINGS.format(
        name=name,
        servers=json.dumps(servers),
        topics=json.dumps(topics),
        topic_ids="ignored" if embedded else "checked",
        protocol=protocol,
        session_seconds=session_seconds,
        options=_table(options),
        columns="\n".join(f'{column} = "{kind}"' for column, kind in COLUMNS.items()),
        path=json.dumps(f"{wanted.home}/table" if wanted.in_store else "table"),
        storage_options=_table(wanted.storage_options),
    )
    file.write_text(text, encoding="utf-8")
    settings = config.load(file, {})
    client = wiring.client_configuration(settings)
    return Ground(name, folder, file, settings, lanes(topics, PARTITIONS), client, embedded, wanted.session_seconds or session_seconds)


def _topics_of(name: str) -> list[str]:
    return [f"{name}-{topic}" for topic in TOPICS]


def _table(values: Mapping[str, str]) -> str:
    return "\n".join(f"{json.dumps(key)} = {json.dumps(value)}" for key, value in values.items())


@contextmanager
def _prefix(wanted: Wanted, storage_options: Mapping[str, str], tell: Callable[[str], None]) -> Iterator[None]:
    """A place in the store where something can be written, and in the end nothing below it.

    Raises:
        Unavailable: the store does not answer, or refuses.
    """
    import obstore
    from obstore.exceptions import BaseError

    from landfast.sinks.delta.errors import translated
    from landfast.sinks.delta.files.paths import shown
    from landfast.sinks.delta.files.storage import files_of
    from landfast.sinks.delta.files.store_client import open_store

    try:
        files_of(wanted.home, storage_options).probe()
    except (BaseError, OSError) as error:
        raise translated(error, f"writing below {shown(wanted.home)}") from error
    try:
        yield
    finally:
        if not wanted.keep:
            try:
                store = open_store(wanted.home, storage_options)
                for found in obstore.list(store):
                    obstore.delete(store, [one["path"] for one in found])
            except (BaseError, OSError) as error:
                said: LandfastError = translated(error, "deleting it")
                tell(f"Not everything below {shown(wanted.home)} could be deleted, delete it yourself: {said.message}")
