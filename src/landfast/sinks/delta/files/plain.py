"""Rows as other writers store them, in types that can be computed with.

deltalake, for one, says of what it rewrites that texts and bytes are views, and other engines that they are large. pyarrow can neither
filter nor compare views, nor put rows of several types into one table.
"""

from __future__ import annotations

from typing import Any, TypeVar

import pyarrow as pa

Table = TypeVar("Table", pa.RecordBatch, pa.Table)


def plain(rows: Table) -> Table:
    """The same rows, with texts and bytes of the plain types, also inside of lists and structs."""
    kinds = [plain_type(field.type) for field in rows.schema]
    if all(kind.equals(field.type) for kind, field in zip(kinds, rows.schema, strict=True)):
        return rows
    return rows.cast(pa.schema([field.with_type(kind) for kind, field in zip(kinds, rows.schema, strict=True)]))


def plain_type(kind: Any) -> Any:
    """The type that stands for this one."""
    if pa.types.is_string_view(kind) or pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_binary_view(kind) or pa.types.is_large_binary(kind):
        return pa.binary()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(kind.value_field.with_type(plain_type(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(plain_type(field.type)) for field in kind])
    return kind
