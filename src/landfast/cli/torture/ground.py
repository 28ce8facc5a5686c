"""Where a torture takes place: topics, group, table and settings of its own, and nothing of them left behind."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from landfast import config, wiring
from landfast.cli.torture.records import COLUMNS, Lane, lanes
from landfast.config import Settings
from landfast.errors import Misconfigured, Unavailable
from landfast.system import SystemClock

ANSWER_SECONDS_MAX = 10.0
REMOVE_SECONDS_MAX = 30.0
PARTITIONS = 4
TOPICS = ("busy", "mixed", "quiet")

_EMBEDDED_BACKLOG = 6_000
"""The embedded broker keeps 5 MB of a partition: what has not landed must never be more."""
_BACKLOG = 200_000

_GONE = ("", "UNKNOWN_TOPIC_OR_PART", "GROUP_ID_NOT_FOUND")
"""What is not there, or never was, is as good as deleted."""

_SETTINGS = """\
name = "{name}"
[source]
servers = {servers}
topics = {topics}
group = "{name}"
topic_ids = "{topic_ids}"
session_seconds = {session_seconds}
poll_interval_seconds_max = 15.0
[source.options]
{options}
[decode.columns]
{columns}
[sink]
path = "table"
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
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Ground:
    """The place. `client` is what a client of the brokers is made with, secrets resolved.

    `embedded`: the broker is ours, forgets old records, and knows neither topic ids nor transactions.
    """

    name: str
    folder: Path
    file: Path
    settings: Settings
    lanes: tuple[Lane, ...]
    client: Mapping[str, str]
    embedded: bool

    @property
    def table(self) -> Path:
        """The table."""
        return self.folder / "table"

    @property
    def session_seconds(self) -> float:
        """How long the group waits for a worker that went without a word."""
        said = self.settings.source.options.get("session.timeout.ms")
        return self.settings.source.session_seconds if said is None else int(said) / 1000

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
        Unavailable: the brokers do not answer.
    """
    name, keep, options = wanted.name, wanted.keep, wanted.options
    with ExitStack() as stack:
        folder = stack.enter_context(_folder(name, wanted.path, keep=keep))
        if wanted.servers is None:
            from landfast.testing.kafka import EmbeddedKafka

            broker = stack.enter_context(EmbeddedKafka())
            place = _laid_out(name, folder, broker.servers, options, embedded=True)
        else:
            place = _laid_out(name, folder, wanted.servers, options, embedded=False)
            stack.enter_context(_topics(place, tell, keep=keep))
        yield place


@contextmanager
def _folder(name: str, path: str | None, *, keep: bool) -> Iterator[Path]:
    if path is not None and "://" in path:
        message = "--path: the table of a torture lies in a local folder, since the judge reads its files himself"
        raise Misconfigured("CONFIG_INVALID", message, next_step="Name a folder, also of a mounted volume.")
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-")) if path is None else Path(path).absolute() / name
        folder.mkdir(parents=True, exist_ok=path is None)
    except OSError as error:
        message = f"--path: {path} cannot be written to ({error.strerror})"
        raise Misconfigured("CONFIG_INVALID", message, next_step="Name a local folder that can be written to.") from error
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _laid_out(name: str, folder: Path, servers: str, options: Mapping[str, str], *, embedded: bool) -> Ground:
    topics = [f"{name}-{topic}" for topic in TOPICS]
    file = folder / "pipeline.toml"
    text = _SETTINGS.format(
        name=name,
        servers=json.dumps(servers),
        topics=json.dumps(topics),
        topic_ids="ignored" if embedded else "checked",
        # Brokers allow no less than 6 s unless they are told to.
        session_seconds=2.0 if embedded else 6.0,
        options="\n".join(f"{json.dumps(key)} = {json.dumps(value)}" for key, value in options.items()),
        columns="\n".join(f'{column} = "{kind}"' for column, kind in COLUMNS.items()),
    )
    file.write_text(text, encoding="utf-8")
    settings = config.load(file, {})
    return Ground(name, folder, file, settings, lanes(topics, PARTITIONS), wiring.client_configuration(settings), embedded)


@contextmanager
def _topics(place: Ground, tell: Callable[[str], None], *, keep: bool) -> Iterator[None]:
    """The topics, and in the end no topics and no group."""
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    client = AdminClient({**place.client, "log_level": "0"})
    names = list(place.settings.source.topics)
    _check_answers(client, place.settings.source.servers)
    try:
        made = client.create_topics([NewTopic(name, PARTITIONS) for name in names], request_timeout=ANSWER_SECONDS_MAX)
        for name, future in made.items():
            _done(future, f"topic {name} cannot be made")
        yield
    finally:
        left = [] if keep else _removed(client, place.name, names)
        if left:
            tell(f"These could not be deleted, delete them yourself: {', '.join(left)}")


def _check_answers(client: Any, servers: str) -> None:
    """See that the brokers answer before anything is made.

    Raises:
        Unavailable: they do not.
    """
    from confluent_kafka import KafkaException

    try:
        client.list_topics(timeout=ANSWER_SECONDS_MAX)
    except KafkaException as error:
        message = f"no broker at {servers} answers within {ANSWER_SECONDS_MAX:g} s ({error.args[0].name()})"
        next_step = "Check --servers and, for a cluster with logins or TLS, the options. Without --servers an embedded broker is used."
        raise Unavailable("SOURCE_DOWN", message, next_step=next_step) from error


def _done(future: Any, what: str) -> None:
    from confluent_kafka import KafkaException

    try:
        future.result(ANSWER_SECONDS_MAX)
    except KafkaException as error:
        next_step = "Use a login that may create and delete topics, groups and transactional ids whose names begin with landfast-torture."
        raise Misconfigured("SOURCE_AUTH", f"{what} ({error.args[0].name()})", next_step=next_step) from error


def _removed(client: Any, group: str, topics: list[str]) -> list[str]:
    """Delete topics and group; the names of what could not be deleted."""
    left = [name for name, future in client.delete_topics(topics).items() if _refusal(future) not in _GONE]
    clock = SystemClock()
    deadline = clock.monotonic() + REMOVE_SECONDS_MAX
    while (refusal := _refusal(client.delete_consumer_groups([group])[group])) == "NON_EMPTY_GROUP" and clock.monotonic() < deadline:
        # The group waits for those of its members that were killed.
        clock.sleep(0.5)
    return left if refusal in _GONE else [*left, group]


def _refusal(future: Any) -> str:
    """The name of the error with which a request ended; empty where it did not."""
    from confluent_kafka import KafkaException

    try:
        future.result(ANSWER_SECONDS_MAX)
    except KafkaException as error:
        return str(error.args[0].name())
    return ""
