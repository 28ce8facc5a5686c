"""Rows found by their key: whole columns at a time, and only values of the columns' own types are ever compared.

A key is the values of some columns of the table, as the table has them: the text 42 is not the number 42, since no column holds both; a
decimal has the scale of its column, a moment its unit. Texts are equal where their bytes are. There are no floats among keys, so nothing
is equal to nothing, and no zero has a sign. A key with a null in it is equal to none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute

# The stubs of pyarrow do not know all that its functions take.
pc: Any = pyarrow.compute


@dataclass(frozen=True, slots=True)
class _Step:
    """How the values of one more column lead on: their codes; and those of the pairs with what the columns before have led to."""

    name: str
    values: Any
    pairs: Any


class KeyIndex:
    """Finds the row of a key among rows of which no two have the same key, and none a null in it."""

    def __init__(self, rows: pa.Table, key: Sequence[str]) -> None:
        self.key = tuple(key)
        self._steps: list[_Step] = []
        codes: Any = None
        for name in self.key:
            column: Any = rows.column(name).combine_chunks()
            values = pc.unique(column)
            codes, pairs = _paired(codes, column, values, None)
            self._steps.append(_Step(name, values, pairs))
        self._row_of = pc.sort_indices(codes)
        """Each row has a code of its own, so the order of the codes is the way back to the rows."""

    def find(self, rows: pa.Table) -> Any:
        """For each of these rows, which of ours has its key; null where none has."""
        codes: Any = None
        for step in self._steps:
            column: Any = rows.column(step.name).combine_chunks()
            codes, _ = _paired(codes, column, step.values, step.pairs)
        return self._row_of.take(codes)

    def values(self, name: str) -> Any:
        """The values that a column of the key has, each once."""
        return next(step.values for step in self._steps if step.name == name)


def _paired(codes: Any, column: Any, values: Any, pairs: Any) -> tuple[Any, Any]:
    """The codes of what came before, paired with those of a column; and the pairs that there are, which are found out where not given."""
    found = pc.index_in(column, value_set=values, skip_nulls=True).cast(pa.int64())
    if codes is None:
        return found, None
    wide = pc.add(pc.multiply(codes, max(1, len(values))), found)
    pairs = pc.unique(wide) if pairs is None else pairs
    # Dense again after each column, so that the product cannot overflow.
    return pc.index_in(wide, value_set=pairs, skip_nulls=True).cast(pa.int64()), pairs
