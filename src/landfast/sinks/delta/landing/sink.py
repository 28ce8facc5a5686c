"""The Delta sink: a batch becomes Parquet files and then, with its positions, one commit."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol, cast

import pyarrow as pa

from landfast.errors import Conflict, check
from landfast.model import Batch, Guarantee, Halt, Level, Position, Receipt, Staged, Stream
from landfast.sinks.delta.errors import mapped
from landfast.sinks.delta.files.names import new_file_name
from landfast.sinks.delta.files.parquet import DataFile, Part, write
from landfast.sinks.delta.files.staged import StagedNames, first_gone
from landfast.sinks.delta.landing.commit import Commit, Committer, moves_of
from landfast.sinks.delta.landing.entities import StagedRows, marked, staged_rows, upsert_of
from landfast.sinks.delta.landing.evolve import evolved
from landfast.sinks.delta.landing.partitions import checked_codes, parts_of
from landfast.sinks.delta.landing.rows import aligned, as_table
from landfast.sinks.delta.landing.tenure import Tenure
from landfast.sinks.delta.settings import UpsertSettings
from landfast.sinks.delta.table.home import TableHome
from landfast.sinks.delta.table.view import View
from landfast.sinks.delta.upkeep.maintenance import Maintenance, MaintenanceSettings
from landfast.threads import side_by_side

GUARANTEE = Guarantee(Level.EXACTLY_ONCE, "rows and positions land in one commit, compared and set at one version of the table")
"""What every Delta sink promises."""

WRITES_AT_ONCE = 4


class Keeper(Protocol):
    """What keeps a table fast: checkpoints, clean-up, compaction. Called from the committer's thread, between commits."""

    def spare(self, staged: StagedNames) -> None:
        """Leave these files alone for as long as they are among them: they are about to be committed. Called once, first."""

    def after_commits(self, version: int, commits: int, budget_seconds: float) -> bool:
        """Do what is due, `commits` commits after the last call that did something, the last of them `version`; whether it did anything.

        Nothing is begun once the budget is used up.
        """


class DeltaSink:
    """Lands batches in one Delta table, exactly once."""

    def __init__(self, home: TableHome, keeper: Keeper | None = None) -> None:
        self._home = home
        self._tenure = Tenure(home)
        self._committer = Committer(home, self._tenure)
        self._staged = StagedNames()
        self._keeper: Keeper = keeper or _keeper_of(home)
        self._keeper.spare(self._staged)
        self._commits_since_upkeep = 0

    @property
    def guarantee(self) -> Guarantee:
        """See `ports.Sink.guarantee`."""
        return GUARANTEE

    def schema(self) -> pa.Schema:
        """The data columns as the table has them now, without system columns. It may grow while running. Thread-safe."""
        return self._home.shape.data_schema

    def positions(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """See `ports.Sink.positions`."""
        with mapped("reading positions"):
            return self._home.positions(self._home.open(), streams)

    def take_over(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """See `ports.Sink.take_over`."""
        with mapped("taking streams over"):
            return self._tenure.take(streams)

    def stage(self, batch: Batch) -> Staged:
        """See `ports.Sink.stage`: Parquet files that no commit names yet; or rows in memory, where there is one row per key."""
        settings = self._home.settings
        filled = [decoded for decoded in batch.decoded if decoded.rows.num_rows]
        decoded_rows = [as_table(decoded.rows) for decoded in filled]
        if settings.unknown_fields == "evolve":
            decoded_rows = evolved(self._home, decoded_rows)
        if settings.upsert is not None:
            decoded_rows = [marked(rows, settings.upsert) for rows in decoded_rows]
        shape = self._home.shape
        tables = [aligned(decoded, table, shape.schema) for decoded, table in zip(filled, decoded_rows, strict=True)]
        rows = sum(table.num_rows for table in tables)
        written = sum(span.written for span in batch.spans)
        check(rows == written, f"a batch has {rows} rows, and its spans count {written}")
        table = pa.concat_tables(tables) if rows else shape.schema.empty_table()
        if settings.upsert is not None:
            return self._rows_staged(batch, table, shape.partition_by, settings.upsert)
        files: list[DataFile] = []
        if rows:
            files_wanted = max(1, -(-table.nbytes // settings.file_bytes_target))
            rows_per_file = -(-rows // files_wanted)
            with mapped("writing a data file"):
                parts = parts_of(table, shape.partition_by, batch.decoded, settings.partitions_per_batch_max)
                files = self._written([share for part in parts for share in part.cut(rows_per_file)])
        check(sum(file.rows for file in files) == written, "the files of a batch do not hold its rows")
        return Staged(batch.number, batch.spans, rows, 0, tuple(files))

    def _rows_staged(self, batch: Batch, table: pa.Table, partition_by: Sequence[str], upsert: UpsertSettings) -> Staged:
        staged = StagedRows(table)
        if table.num_rows:
            checked_codes(table, partition_by, batch.decoded, self._home.settings.partitions_per_batch_max)
            staged = staged_rows(table, batch.decoded, upsert)
        return Staged(batch.number, batch.spans, table.num_rows, staged.rows.nbytes, staged)

    def _written(self, shares: Sequence[Part]) -> list[DataFile]:
        """Each share as a file, durable with its folder. Several wait for the disk or the store side by side."""
        return side_by_side(self._write, shares, threads=WRITES_AT_ONCE, name="landfast-write")

    def _write(self, share: Part) -> DataFile:
        name = new_file_name("landfast")
        self._staged.add(f"{share.folder}{name}")
        return write(self._home.files, name, share, self._home.settings, now=self._home.clock.now())

    def commit(self, staged: Sequence[Staged]) -> Receipt:
        """See `ports.Sink.commit`."""
        if self._home.settings.upsert is not None:
            return self._upserted(staged, self._home.settings.upsert)
        began = self._home.clock.monotonic()
        files = tuple(file for one in staged for file in _files_of(one))
        spans = tuple(span for one in staged for span in one.spans)
        rows = sum(one.rows for one in staged)
        with mapped("committing to the table"), self._until_settled([file.path for file in files]):
            self._check_still_there(staged)
            return self._landed(Commit(spans, moves_of(staged), files, rows), files, began)

    def _upserted(self, staged: Sequence[Staged], upsert: UpsertSettings) -> Receipt:
        """Land the newest rows, and take out those of the same keys that are older, in one commit."""
        began = self._home.clock.monotonic()
        spans = tuple(span for one in staged for span in one.spans)
        rows = sum(one.rows for one in staged)
        with mapped("putting rows in the place of others"):
            change = upsert_of(self._home, self._staged, upsert, spans, staged)
            with self._until_settled(change.names):
                return self._landed(Commit(spans, moves_of(staged), (), rows, change), (), began)

    def _landed(self, commit: Commit, files: Sequence[DataFile], began: float) -> Receipt:
        sequence = self._committer.sequence
        landed = self._committer.land(commit)
        self._commits_since_upkeep += 1
        made = files if commit.upsert is None else commit.upsert.change.files
        return Receipt(
            spans=commit.spans,
            rows=commit.rows,
            files=len(made),
            nbytes=sum(file.nbytes for file in made),
            version=landed.version,
            sequence=sequence,
            already=landed.already,
            seconds=self._home.clock.monotonic() - began,
        )

    @contextmanager
    def _until_settled(self, names: Sequence[str]) -> Iterator[None]:
        """Forget these files once they have landed or never will; after anything else they may be committed again."""
        try:
            yield
        except Conflict:
            self._staged.discard(names)
            raise
        self._staged.discard(names)

    def _check_still_there(self, staged: Sequence[Staged]) -> None:
        """Look at every file right before a commit names it, whoever may have taken it away since it was staged.

        Raises:
            Conflict: one is gone or has another size. Nothing has landed, and what it held is read again.
        """
        gone = first_gone(self._home.files, [file for one in staged for file in _files_of(one)])
        if gone is None:
            return
        span = next(one.spans[0] for one in staged if gone in _files_of(one))
        message = f"the staged file {gone.path} is gone or has another size than when it was written; nothing of the batch has landed"
        next_step = "Nothing: its records are read again. If it repeats, find out what removes files from the table's folder."
        raise Conflict("STAGED_FILE_GONE", message, stream=span.stream, position=span.start, next_step=next_step)

    def owns(self, view: View, stream: Stream) -> bool:
        """Whether nobody has taken the stream over since this sink did, by this view; also where it never did."""
        return self._tenure.holds(view, stream)

    def release(self, names: Iterable[str]) -> None:
        """Forget files that were staged here, and that somebody else has committed or nobody will."""
        self._staged.discard(names)

    def maintain(self, budget_seconds: float) -> None:
        """See `ports.Sink.maintain`."""
        if not self._commits_since_upkeep:
            return
        with mapped("maintaining the table"):
            if self._keeper.after_commits(self._committer.landed_version, self._commits_since_upkeep, budget_seconds):
                self._commits_since_upkeep = 0
                self._committer.forget_view()

    def close(self) -> None:
        """See `ports.Sink.close`."""
        self._committer.forget_view()


def _files_of(staged: Staged) -> tuple[DataFile, ...]:
    content = staged.content
    check(isinstance(content, tuple), "a staged batch that this sink did not make")
    return cast("tuple[DataFile, ...]", content)


def _keeper_of(home: TableHome) -> Keeper:
    settings = MaintenanceSettings(checkpoint_commits=home.settings.checkpoint_commits)
    return Maintenance(settings, home.settings, home.clock, home.observer, disk=home.place.disk, opener=home.place.opener)
