"""What a person asks of a table and its dead letters: read only, in bounded memory, without a record's content unless one is asked for."""

from __future__ import annotations

import functools
import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from landfast.sinks.delta.errors import looked
from landfast.sinks.delta.files.paths import check_way, letters_path
from landfast.sinks.delta.files.plain import plain
from landfast.sinks.delta.files.storage import files_of
from landfast.sinks.delta.log.active import active_files
from landfast.sinks.delta.log.entries import entries_back
from landfast.sinks.delta.log.record import CommitRecord
from landfast.sinks.delta.log.snapshot import snapshot_or_none
from landfast.sinks.delta.proof.acts import OPEN_STATES, UNTOUCHED, Acts, Dealings, State
from landfast.sinks.delta.proof.coordinates import parsed_id
from landfast.sinks.delta.proof.letters import EVERY_LETTER, LISTED, LetterFilter, Letters, Row, rows_at_once
from landfast.sinks.delta.settings import DeltaSettings
from landfast.sinks.delta.table.place import open_handle

# The stubs of pyarrow know neither Python values as operands nor the newer functions.
pc: Any = pyarrow.compute

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Listed:
    """The newest letters that were asked for, and how many of those there are, by reason.

    Each has beside its own columns those of `standing`. `all_reasons` and `all_topics` count every letter that stands as asked, and
    `states` every letter there is, whatever else was asked for: those that are tried again are among the open ones too.
    """

    newest: tuple[Mapping[str, Any], ...]
    reasons: Mapping[str, int]
    all_reasons: Mapping[str, int]
    all_topics: Mapping[str, int]
    states: Mapping[str, int]

    @property
    def total(self) -> int:
        """How many there are."""
        return sum(self.reasons.values())


def letters(
    settings: DeltaSettings, *, limit: int, wanted: LetterFilter = EVERY_LETTER, states: AbstractSet[State] = OPEN_STATES
) -> Listed:
    """Dead letters, newest first and those of one moment from the last offset down, without key, value and headers.

    Raises:
        Unavailable: the store does not answer.
        Broken: the table is damaged.
    """
    newest: list[tuple[tuple[Any, ...], Mapping[str, Any]]] = []
    reasons: Counter[str] = Counter()
    there: Counter[tuple[str, str]] = Counter()
    by_state: Counter[str] = Counter()
    with looked("reading dead letters"):
        acts = Acts(settings)
        for rows in Letters(settings).each():
            known = {} if acts.none else acts.of(rows)
            for row in rows:
                dealings = known.get(row["id"], UNTOUCHED)
                state = dealings.state_of(row)
                by_state[state] += 1
                by_state[State.OPEN] += state is State.RETRYING
                if state not in states:
                    continue
                there[row["reason"], row["topic"]] += 1
                if wanted.fits(row):
                    reasons[row["reason"]] += 1
                    # The id is unique, so two rows are never compared by their mapping.
                    entry = ((row["last_failed_at"], row["topic"], row["partition"], row["offset"], row["id"]), listed(row, dealings))
                    heapq.heappush(newest, entry) if len(newest) < limit else heapq.heappushpop(newest, entry)
    shown = tuple(row for _, row in sorted(newest, key=lambda one: one[0], reverse=True))
    return Listed(shown, dict(reasons.most_common()), _summed(there, 0), _summed(there, 1), dict(by_state))


def listed(row: Row, dealings: Dealings) -> dict[str, Any]:
    """A letter for people, without its content: its own columns, and what the trail says of it."""
    return {**{name: row[name] for name in LISTED}, "last_failed_at": moment(row["last_failed_at"]), **standing(row, dealings)}


def standing(row: Row, dealings: Dealings) -> dict[str, Any]:
    """What the trail says of a letter: where it stands, how often people's replays were refused, and how the pipeline's attempts go on."""
    next_attempt_at = dealings.next_attempt_at(row)
    return {
        "state": str(dealings.state_of(row)),
        "refusals": dealings.refusals,
        "refused_at": None if dealings.refused is None else dealings.refused["at"],
        "edited": dealings.edit is not None,
        "failures": dealings.failures(row),
        "given_up": dealings.given_up,
        "next_attempt_at": None if next_attempt_at is None else moment(next_attempt_at),
    }


def moment(since_epoch: int) -> datetime:
    """A time that is given in microseconds since the epoch."""
    return _EPOCH + timedelta(microseconds=since_epoch)


def letters_named(settings: DeltaSettings, text: str) -> list[Row]:
    """The letters that an id names, without their content: one, none, or one of each incarnation of the topic.

    Raises:
        Unavailable: the store does not answer.
        Broken: the table is damaged.
    """
    named = parsed_id(text)
    with looked("looking for a dead letter"):
        found = {} if named is None else {row["id"]: row for row in Letters(settings).named([named])}
    return list(found.values())


def acts_of(settings: DeltaSettings, letter: Row) -> tuple[list[Row], dict[str, Any]]:
    """What was done with a letter, in order; and where it stands by that.

    Raises:
        Unavailable: the store does not answer.
        Broken: the table is damaged.
    """
    with looked("reading what was done with a dead letter"):
        acts = Acts(settings).told(letter)
    return acts, standing(letter, functools.reduce(Dealings.and_then, acts, UNTOUCHED))


def _summed(counts: Counter[tuple[str, str]], part: int) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for names, count in counts.items():
        sums[names[part]] += count
    return dict(sums.most_common())


def letter(settings: DeltaSettings, letter_id: str) -> Mapping[str, Any] | None:
    """One letter, whole, or None where there is none with this id.

    Raises:
        Unavailable: the store does not answer.
        Broken: the table is damaged.
    """
    if not _is_text(letter_id):
        return None
    with looked("reading a dead letter"):
        for path, files in _letter_files(settings):
            with files.open(path) as stored:
                parquet = pq.ParquetFile(stored)
                for batch in parquet.iter_batches(rows_at_once(parquet)):
                    rows = plain(batch)
                    found = rows.filter(pc.equal(rows.column("id"), letter_id))
                    if found.num_rows:
                        return {name: _python_value(found.column(name)[0]) for name in found.schema.names}
    return None


def _python_value(value: pa.Scalar[Any]) -> Any:
    """The value; for a moment beyond Python's calendar, which ends with the year 9999, the milliseconds in words."""
    try:
        return value.as_py()
    except (OverflowError, ValueError):
        return f"{value.cast(pa.int64()).as_py() // 1000} ms since 1970"


def _is_text(text: str) -> bool:
    """Whether a table could hold the text: what comes from a command line may be any bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def last_commit(settings: DeltaSettings, pipeline_id: str, *, commits_max: int = 200) -> tuple[int, CommitRecord] | None:
    """The newest commit of the pipeline among the last `commits_max`, with its version.

    Raises:
        Unavailable: the store does not answer.
    """
    with looked("reading the last commit"):
        files = files_of(settings.path, settings.storage_options)
        tip = open_handle(settings).version()
        for entry in entries_back(files, tip, max(0, tip - commits_max + 1)):
            if entry.record is not None and entry.record.pipeline_id == pipeline_id:
                return entry.version, entry.record
    return None


def _letter_files(settings: DeltaSettings) -> Iterator[tuple[str, Any]]:
    check_way(settings.path)
    path = letters_path(settings.path)
    table = snapshot_or_none(path, settings.storage_options)
    if table is None:
        return
    files = files_of(path, settings.storage_options)
    for file in active_files(table):
        yield file.path, files
