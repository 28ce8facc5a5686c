"""Sizes in bytes, as people write them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
_UNITS = {"": 1, "b": 1, "kib": KIB, "mib": MIB, "gib": GIB, "tib": 1 << 40, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*$")


def parse_bytes(value: object) -> object:
    """A number of bytes from "128 MiB"; anything that is not text passes through to be judged by the field."""
    if not isinstance(value, str):
        return value
    match = _SIZE.match(value)
    if match is None or match[2].lower() not in _UNITS:
        message = 'a size is a number with a unit, such as "128 MiB" (B, KiB, MiB, GiB, TiB, kB, MB, GB, TB)'
        raise ValueError(message)
    # A number that no float holds is left to the field's own bound.
    return int(min(float(match[1]) * _UNITS[match[2].lower()], 2.0**62))


ByteSize = Annotated[int, BeforeValidator(parse_bytes)]
