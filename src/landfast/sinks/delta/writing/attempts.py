"""What came of each attempt of a write, for people: rows of a small table beside, written when the call ends.

They are told, not relied upon: rows that cannot be kept are lost, and the write neither fails nor waits for them for long. A process that
is killed leaves none of its last call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from landfast.errors import LandfastError, Unavailable
from landfast.ports import Clock
from landfast.sinks.delta.errors import looked, mapped
from landfast.sinks.delta.files.paths import attempts_path, local_path
from landfast.sinks.delta.log.snapshot import snapshot_or_none
from landfast.sinks.delta.writing.values import DeltaWriteResult, IdempotentWriteOptions

SECONDS_MAX = 5
_TRIES = 2
"""Two calls at once may make the table at once: one of them tries again."""
AttemptOutcome = Literal["tried", "written", "already there", "failed"]
_COLUMNS: dict[str, pa.DataType] = {
    "at": pa.timestamp("us", "UTC"),
    "app_id": pa.string(),
    "version": pa.int64(),
    "call": pa.string(),
    "attempt": pa.int64(),
    "outcome": pa.string(),
    "code": pa.string(),
    "kind": pa.string(),
    "seconds": pa.float64(),
    "table_version": pa.int64(),
}


@dataclass(frozen=True, slots=True)
class WriteAttempt:
    """One attempt of a call to commit, or the end of a call that did not come so far.

    at             when it ended
    call           the id of the call that it is of
    attempt        its number in the call, from 1; 0 where the call ended before the first
    outcome        written; already there; failed; or tried: another writer made that version of the table, and there was another attempt
    code, kind     of the error: `landfast explain CODE`; the kind is that of an `Unavailable`; both empty where there was none
    seconds        from the beginning of the call
    table_version  that the rows came with, where that is known
    """

    at: datetime
    app_id: str
    version: int
    call: str
    attempt: int
    outcome: str
    code: str
    kind: str
    seconds: float
    table_version: int | None


class Journal:
    """Collects the attempts of one call."""

    def __init__(self, identity: IdempotentWriteOptions, call: str, clock: Clock) -> None:
        self._identity = identity
        self._call = call
        self._clock = clock
        self._began = clock.monotonic()
        self.attempts: list[WriteAttempt] = []

    @contextmanager
    def kept(self, path: str, storage_options: Mapping[str, str]) -> Iterator[None]:
        """Keep the attempts of the block, however it ends."""
        try:
            with self.failures(0):
                yield
        finally:
            self._keep(path, storage_options)

    @contextmanager
    def failures(self, attempt: int) -> Iterator[None]:
        """Note the error that the block ends with, unless one within it has noted it."""
        noted = len(self.attempts)
        try:
            # Before the first attempt the rows are read: an exception of their maker is the caller's own.
            with mapped("writing to the table") if attempt else nullcontext():
                yield
        except LandfastError as error:
            if len(self.attempts) == noted or not attempt:
                self._failed(attempt, error)
            raise

    def ended(self, attempt: int, result: DeltaWriteResult | None) -> None:
        """Note what an attempt came to; None where another writer came first."""
        outcome: AttemptOutcome = "tried" if result is None else result.outcome
        self._note(attempt, outcome, "", "", None if result is None else result.table_version)

    def _failed(self, attempt: int, error: LandfastError) -> None:
        latest = self.attempts[-1] if self.attempts else None
        if attempt or latest is None or latest.outcome != "failed":
            self._note(attempt, "failed", error.code, error.kind if isinstance(error, Unavailable) else "", None)

    def _note(self, attempt: int, outcome: AttemptOutcome, code: str, kind: str, table_version: int | None) -> None:
        named = (datetime.fromtimestamp(self._clock.now(), UTC), self._identity.app_id, self._identity.version, self._call)
        seconds = self._clock.monotonic() - self._began
        self.attempts.append(WriteAttempt(*named, attempt, outcome, code, kind, seconds, table_version))

    def _keep(self, path: str, storage_options: Mapping[str, str]) -> None:
        """Write the rows beside the table, if that can be done in a few seconds."""
        rows = pa.Table.from_pylist([asdict(one) for one in self.attempts], pa.schema(_COLUMNS))
        # A store that is away must not be waited for as long as the write itself was.
        hasty = {"max_retries": "1", "retry_timeout": f"{SECONDS_MAX}s", "timeout": f"{SECONDS_MAX}s"}
        options = dict(storage_options) | ({} if local_path(path) else hasty)
        for _ in range(_TRIES if rows.num_rows else 0):
            with suppress(LandfastError), mapped("keeping the attempts of a write"):
                write_deltalake(attempts_path(path), rows, mode="append", storage_options=options or None)
                return


def attempts_of(path: str, storage_options: Mapping[str, str]) -> list[WriteAttempt]:
    """The attempts that were kept, oldest first; none where none ever were."""
    with looked("reading the attempts of writes"):
        handle: DeltaTable | None = snapshot_or_none(attempts_path(path), storage_options)
        found = [] if handle is None else handle.to_pyarrow_table().select(list(_COLUMNS)).to_pylist()
    return sorted((WriteAttempt(**row) for row in found), key=lambda one: (one.at, one.call, one.attempt))
