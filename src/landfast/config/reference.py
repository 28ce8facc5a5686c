"""The settings reference as Markdown, made from the fields themselves."""

from __future__ import annotations

import typing
from typing import Any

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import AwareDatetime, BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from landfast.config.faults import Place, dotted, model_at, sections
from landfast.config.options import Options
from landfast.config.retries import OwnRetrySettings
from landfast.config.settings import RouteSettings, Settings
from landfast.config.sizes import GIB, KIB, MIB

_HEAD = """# Settings

One TOML file per pipeline. Every key below can also be set by an environment variable, `LANDFAST_` and the path in capitals with two
underscores between its parts: `LANDFAST_SOURCE__SERVERS`; a route is named by its number: `LANDFAST_ROUTES__0__SINK__PATH`. Lists of
text are written with commas, `LANDFAST_SOURCE__TOPICS=a,b`, other lists and tables as in TOML. Relative paths are relative to the file.
Unknown keys are refused, and so are variables that are nearly a setting, such as `LANDFAST_BATCH_ROWS`.

This page is generated from the code.
"""
_ROUTES = """
## [[routes]]

Several routes in one file, each with its own table. `decode`, `sink`, `batch`, `dead_letters` and `retry` of a route take the keys that
they do not name from the sections of the same names at the top. Every topic that is read must be of exactly one route.
"""


def reference() -> str:
    """All settings with their types, defaults, bounds and descriptions."""
    parts = [_HEAD]
    for place, model in sections():
        if model is Settings:
            rows = _table(model, leave_out=("routes",))
        else:
            parts.append(f"\n## [{dotted(place)}]\n\n{_words(place, model)}\n")
            rows = _table(model)
        parts.append(f"\n{rows}")
    parts += [_ROUTES, "\n", _table(RouteSettings)]
    return "".join(parts)


def _words(place: Place, model: type[BaseModel]) -> str:
    """What a section is for. Those of the classes of errors are one model, so each is told apart by what its route says of it."""
    words = (model.__doc__ or "").splitlines()[0]
    own = model_at(place[:-1]).model_fields[str(place[-1])].description if model is OwnRetrySettings else None
    return f"{own} {words}" if own else words


def _table(model: type[BaseModel], leave_out: tuple[str, ...] = ()) -> str:
    lines = ["| key | type | default | bounds | meaning |", "| --- | --- | --- | --- | --- |"]
    for name, field in model.model_fields.items():
        if name in leave_out or _is_section(field):
            continue
        cells = (f"`{name}`", type_of(field), default_of(name, field), bounds_of(name, field), field.description or "")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _is_section(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _plain(annotation: Any) -> Any:
    """The annotation without None."""
    kinds = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
    is_optional = len(kinds) == 1 and type(None) in typing.get_args(annotation)
    return kinds[0] if is_optional else annotation


def type_of(field: FieldInfo) -> str:
    """What users write there."""
    kind = _plain(field.annotation)
    names = {str: "text", int: "whole number", float: "number", bool: "boolean", Options: "table", AwareDatetime: "date-time"}
    if typing.get_origin(kind) is typing.Literal:
        return "one of"
    if typing.get_origin(kind) is tuple:
        return "list of text" if _item_of(kind) is str else "list of numbers"
    if typing.get_origin(kind) is dict:
        return "table of text" if typing.get_args(kind)[1] is str else "table of whole numbers"
    return names.get(kind, "text")


def _item_of(kind: Any) -> Any:
    """What a list holds, without its bounds."""
    item = typing.get_args(kind)[0]
    return typing.get_args(item)[0] if typing.get_origin(item) is typing.Annotated else item


def _is_size(name: str) -> bool:
    return "bytes" in name.split("_")


def _amount(name: str, value: object) -> str:
    if not _is_size(name) or not isinstance(value, int):
        return f"{value:,}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
    for unit, size in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if value % size == 0:
            return f"{value // size} {unit}"
    return f"{value} B"


def default_of(name: str, field: FieldInfo) -> str:
    """The default as users write it."""
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is PydanticUndefined or default is None:
        return "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, str):
        return f'`"{default}"`'
    if isinstance(default, tuple):
        return "`[]`"
    if isinstance(default, dict | Options):
        return "`{}`"
    return f'`"{_amount(name, default)}"`' if _is_size(name) else f"`{default}`"


def bounds_of(name: str, field: FieldInfo) -> str:
    """The values that are accepted; empty text where nothing bounds the field, which a test refuses."""
    kind = _plain(field.annotation)
    if typing.get_origin(kind) is typing.Literal:
        return ", ".join(f"`{choice}`" for choice in typing.get_args(kind))
    if kind is bool:
        return "`true`, `false`"
    if kind is AwareDatetime:
        return "with its offset"
    if kind is Options:
        return "text, numbers, booleans"
    words: list[str] = []
    inner = typing.get_args(typing.get_args(kind)[0])[1:] if typing.get_origin(kind) is tuple else ()
    for bound in (*field.metadata, *(part for info in inner for part in info.metadata if isinstance(part, Ge | Le))):
        if isinstance(bound, Ge):
            words.append(f"from {_amount(name, bound.ge)}")
        elif isinstance(bound, Le):
            words.append(f"to {_amount(name, bound.le)}")
        elif isinstance(bound, MinLen):
            words.append(f"at least {bound.min_length:,}")
        elif isinstance(bound, MaxLen):
            words.append(f"at most {bound.max_length:,}" + (" characters" if kind is str else " entries"))
    return " ".join(words)
