"""JSON records to rows: fast where records are well, one at a time where they are not, with the same verdicts."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal, cast

import pyarrow as pa
import pyarrow.compute as pc

from landfast.decode.json_doubt import Doubts
from landfast.decode.json_fast import FastReader, Piece, is_readable
from landfast.decode.json_rules import REASONS, JsonLimits, Refused
from landfast.decode.json_slow import Reference
from landfast.decode.schema import RESCUED
from landfast.errors import check
from landfast.model import Chunk, Decoded, Reject

UnknownFields = Literal["rescue", "dead", "evolve"]
Tombstones = Literal["skip", "dead"]

PIECE_RECORDS_MAX = 16_384
"""Records read at once: larger pieces leave the processor's cache."""
PIECE_RECORDS_MIN = 1_024
"""A piece of this size that does not read, for whatever reason, is decoded one by one."""
SCREENED_RECORDS_MIN = 128
"""In a piece of so few records that does not read nobody looks for the doubtful ones: that has a fixed cost, too."""
SINGLY_RECORDS_MAX = 16
"""So few records are decoded one by one: the fixed cost of a vectorised piece is that of about twenty records."""
PIECE_BYTES_MAX = 8 * 1024 * 1024


class JsonDecoder:
    """Decodes JSON objects into the columns of a schema; see `json_rules` for what each type takes.

    `schema` holds the data columns. Where it is a function it is asked at every call, and a wider schema counts at once.
    `unknown_fields`: rescue and evolve append the column `_rescued`, dead refuses the record. With evolve, the nullable columns that
    `wanted` does not name came from a guess: a value that does not fit one of them is kept in `_rescued`. `wanted` must not depend
    on what the run has met, so that a record gets the same verdict when it is read again. Safe to share between threads.
    """

    def __init__(
        self,
        schema: Callable[[], pa.Schema] | pa.Schema,
        *,
        unknown_fields: UnknownFields = "rescue",
        tombstones: Tombstones = "skip",
        limits: JsonLimits | None = None,
        wanted: Collection[str] = (),
    ) -> None:
        self._wanted = frozenset(wanted)
        self._limits = limits or JsonLimits()
        self._schema = schema if callable(schema) else lambda: schema
        self._unknown_fields = unknown_fields
        self._tombstones = tombstones
        self._plan: _Plan | None = None

    @property
    def schema(self) -> pa.Schema:
        """The columns of the rows that `decode` makes now: the data columns, then `_rescued` unless unknown fields are refused."""
        return self._current().output

    def decode(self, chunk: Chunk) -> Decoded:
        """See `ports.Decoder`."""
        plan = self._current()
        values, present, absent = _split(chunk.values)
        rows = _Rows(plan, values, present)
        rows.take_all()
        rejects = rows.rejects
        if absent and self._tombstones == "dead":
            rejects = [*rejects, *(Reject(index, "tombstone", REASONS["tombstone"]) for index in absent)]
            rejects.sort(key=lambda reject: reject.index)
        skips = {"tombstone": absent} if absent and self._tombstones == "skip" else {}
        table = rows.table()
        kept = rows.kept if absent or rejects else None
        check(table.num_rows + len(rejects) + sum(map(len, skips.values())) == len(chunk), "Decoding must account for every record.")
        return Decoded(chunk, table, kept, tuple(rejects), skips)

    def _current(self) -> _Plan:
        schema = self._schema()
        plan = self._plan
        if plan is None or not (plan.schema is schema or plan.schema.equals(schema)):
            plan = self._plan = self._planned(schema)
        return plan

    def _planned(self, schema: pa.Schema) -> _Plan:
        rescues = self._unknown_fields != "dead"
        output = schema.append(pa.field(RESCUED, pa.string())) if rescues else schema
        grows = self._unknown_fields == "evolve"
        guessed = frozenset(field.name for field in schema if grows and field.nullable and field.name not in self._wanted)
        reference = Reference(schema, refuse_unknown=not rescues, limits=self._limits, guessed=guessed)
        fast = FastReader(schema, self._limits) if is_readable(schema, self._limits.depth) else None
        return _Plan(schema, output, rescues, fast, Doubts(schema), reference)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is worked out once per schema. `fast` is None where Arrow's reader does not know a type."""

    schema: pa.Schema
    output: pa.Schema
    rescues: bool
    fast: FastReader | None
    doubts: Doubts
    reference: Reference


def _split(values: Sequence[bytes | None]) -> tuple[Sequence[bytes], Sequence[int], list[int]]:
    """The values that are there, their indices, and the indices of those that are null."""
    if None not in values:
        return cast("Sequence[bytes]", values), range(len(values)), []
    present = [index for index, value in enumerate(values) if value is not None]
    absent = [index for index, value in enumerate(values) if value is None]
    return [value for value in values if value is not None], present, absent


class _Rows:
    """Takes the records of one chunk in order and gathers tables and rejects."""

    def __init__(self, plan: _Plan, values: Sequence[bytes], indices: Sequence[int]) -> None:
        self._plan = plan
        self._values = values
        self._indices = indices
        self._tables: list[pa.Table] = []
        self.kept: list[int] = []
        self.rejects: list[Reject] = []

    def table(self) -> pa.Table:
        """All rows."""
        return pa.concat_tables(self._tables) if self._tables else self._plan.output.empty_table()

    def take_all(self) -> None:
        """All records, in pieces of a size that reads well."""
        start, count = 0, len(self._values)
        while start < count:
            end = self._end(start, min(start + PIECE_RECORDS_MAX, count))
            self._take(range(start, end))
            start = end

    def _take(self, rows: range) -> None:
        """A piece at once; one that does not read without its doubtful records, or in smaller pieces, or one by one."""
        fast = self._plan.fast
        if fast is None or len(rows) <= SINGLY_RECORDS_MAX:
            self._take_singly(rows)
        elif (piece := fast.read(self._values[rows.start : rows.stop])) is not None:
            self._take_piece(piece, rows, [])
        elif len(rows) <= SCREENED_RECORDS_MIN:
            self._take_singly(rows)
        elif not self._take_well(fast, rows):
            self._take_parts(rows)

    def _end(self, start: int, end: int) -> int:
        """At most `end`, less where the records are large; always beyond `start`."""
        lengths = list(map(len, self._values[start:end]))
        if sum(lengths) <= PIECE_BYTES_MAX:
            return end
        return max(start + bisect(list(accumulate(lengths)), PIECE_BYTES_MAX), start + 1)

    def _take_well(self, fast: FastReader, rows: range) -> bool:
        """Whether the piece reads without the records that look odd, or without those that the parser blames as well."""
        doubted = self._plan.doubts.odd(self._values[rows.start : rows.stop])
        if doubted and self._take_without(fast, rows, doubted):
            return True
        others = [place for place in range(len(rows)) if place not in doubted]
        blamed = fast.blamed([self._values[rows[place]] for place in others])
        return bool(blamed) and self._take_without(fast, rows, doubted.union(others[index] for index in blamed))

    def _take_without(self, fast: FastReader, rows: range, doubted: AbstractSet[int]) -> bool:
        """Whether the rows could be taken with only the doubted ones (by place in `rows`) judged singly."""
        others = [row for place, row in enumerate(rows) if place not in doubted]
        if len(others) <= SINGLY_RECORDS_MAX:
            self._take_singly(rows)
            return True
        piece = fast.read([self._values[row] for row in others])
        if piece is not None:
            self._take_piece(piece, others, [rows[place] for place in sorted(doubted)])
        return piece is not None

    def _take_parts(self, rows: range) -> None:
        """Nobody knows which records are to blame: the smaller the piece, the fewer suffer with them."""
        if len(rows) <= PIECE_RECORDS_MIN:
            self._take_singly(rows)
            return
        size = max(len(rows) // 4, PIECE_RECORDS_MIN)
        for start in range(0, len(rows), size):
            self._take(rows[start : start + size])

    def _take_piece(self, piece: Piece, rows: Sequence[int], doubtful: list[int]) -> None:
        """The rows of a piece; its suspects and `doubtful` only as far as the reference accepts them, each in its place."""
        columns = [*piece.columns, pa.nulls(len(rows), pa.string())] if self._plan.rescues else list(piece.columns)
        table = pa.Table.from_arrays(columns, schema=self._plan.output)
        kept = rows
        if piece.suspects is not None:
            good = pc.invert(piece.suspects)
            table = table.filter(good)
            kept = [rows[index] for index in pc.indices_nonzero(good).to_pylist()]
            doubtful = sorted([*doubtful, *(rows[index] for index in pc.indices_nonzero(piece.suspects).to_pylist())])
        cleared, cleared_rows = self._judged(doubtful)
        if cleared_rows:
            kept = [*kept, *cleared_rows]
            order = sorted(range(len(kept)), key=kept.__getitem__)
            table = pa.concat_tables([table, cleared]).take(order)
            kept = sorted(kept)
        self._tables.append(table)
        self._keep(kept)

    def _keep(self, rows: Sequence[int]) -> None:
        self.kept.extend(self._indices[rows.start : rows.stop] if isinstance(rows, range) else map(self._indices.__getitem__, rows))

    def _take_singly(self, rows: Sequence[int]) -> None:
        table, taken = self._judged(rows)
        self._tables.append(table)
        self._keep(taken)

    def _judged(self, rows: Sequence[int]) -> tuple[pa.Table, list[int]]:
        """The reference's verdict on these records: a table of the accepted ones, and which they are."""
        reference = self._plan.reference
        cells: list[list[Any]] = []
        taken: list[int] = []
        for row in rows:
            try:
                columns, rescued = reference.row(self._values[row])
            except Refused as refused:
                self.rejects.append(Reject(self._indices[row], refused.reason, refused.message))
                continue
            if self._plan.rescues:
                columns.append(rescued)
            cells.append(columns)
            taken.append(row)
        schema = self._plan.output
        if not cells:
            return schema.empty_table(), taken
        columns_of_cells = zip(*cells, strict=True)
        arrays = [pa.array(column, field.type) for column, field in zip(columns_of_cells, schema, strict=True)]
        return pa.Table.from_arrays(arrays, schema=schema), taken
