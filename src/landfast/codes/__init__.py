"""Every stable code an operator can meet: what it means, what is safe, what to do next. `landfast explain CODE` prints it.

One table per place a code comes from; the reference page `docs/reference/codes.md` is generated from them, and a house test fails
on a code that is used and not here.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from landfast.codes import run, service, settings, sink, source
from landfast.codes.entry import Code

__all__ = ["CODES", "Code", "nearest"]

_TABLES = {**settings.TABLE, **source.TABLE, **sink.TABLE, **service.TABLE, **run.TABLE}
CODES: Mapping[str, Code] = MappingProxyType(dict(sorted(_TABLES.items())))
"""All codes by name, sorted."""


def nearest(name: str) -> str | None:
    """The known code that `name` most likely means, or None where nothing is near."""
    found = difflib.get_close_matches(name.strip().upper().replace("-", "_").replace(" ", "_"), CODES, n=1, cutoff=0.5)
    return found[0] if found else None
