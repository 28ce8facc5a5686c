"""Whether a store creates atomically: found out by trying, before anything lands."""

from __future__ import annotations

import threading

from landfast.errors import Misconfigured
from landfast.sinks.delta.files.names import probe_name
from landfast.sinks.delta.files.storage import Files
from landfast.sinks.delta.settings import DeltaSettings
from landfast.threads import side_by_side

RACERS = 4


def check_atomic(settings: DeltaSettings, files: Files) -> None:
    """Create objects of the same name, one after the other and several at once; more than one that succeeds is one too many.

    The condition is the one that a commit stands on. None may succeed: a client that tries again after a lost answer meets its own object.
    A local disk is not raced: there a commit is a hard link, which the kernel never makes twice.

    Raises:
        Misconfigured: the store let two writers create the same object.
    """
    if files.local:
        return
    names = [probe_name() for _ in range(1 + settings.probe_rounds)]
    try:
        if sum(files.put(names[0], content) for content in (b"first", b"second")) > 1:
            raise _unsafe("a file was created although it was there")
        for name in names[1:]:
            winners = _race(files, name)
            if winners > 1:
                raise _unsafe(f"{winners} of {RACERS} writers created the same file at once")
    finally:
        for name in names:
            files.remove(name)


def _race(files: Files, name: str) -> int:
    """How many of several threads created this one object."""
    start = threading.Barrier(RACERS)

    def attempt(number: int) -> bool:
        start.wait()
        return files.put(name, str(number).encode())

    return sum(side_by_side(attempt, range(RACERS), threads=RACERS, name="landfast-probe"))


def _unsafe(what: str) -> Misconfigured:
    message = f"{what}: the store overwrites where it must refuse"
    return Misconfigured("UNSAFE_STORE", message, next_step="Use a store with conditional writes.")
