"""Files between being written and being named by a commit: which they are, and that they are still there."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from landfast.sinks.delta.files.parquet import DataFile
from landfast.sinks.delta.files.storage import Files
from landfast.threads import side_by_side

NAMES_MAX = 100_000
LOOKS_AT_ONCE = 8


class StagedNames:
    """The names of the files that this process has staged and not landed. Safe to share between threads.

    Holds at most `names_max` and forgets the oldest first, so that what a conflict has left behind does not add up.
    """

    def __init__(self, names_max: int = NAMES_MAX) -> None:
        self._names_max = names_max
        self._lock = threading.Lock()
        self._names: dict[str, None] = {}

    def __contains__(self, name: str) -> bool:
        with self._lock:
            return name in self._names

    def add(self, name: str) -> None:
        """Take note of a file, before its first byte is written."""
        with self._lock:
            self._names[name] = None
            while len(self._names) > self._names_max:
                del self._names[next(iter(self._names))]

    def discard(self, names: Iterable[str]) -> None:
        """Forget files that have landed, or never will."""
        with self._lock:
            for name in names:
                self._names.pop(name, None)


def first_gone(files: Files, expected: Sequence[DataFile]) -> DataFile | None:
    """The first of these files that is not there with the size it has; None where all are well.

    A file that a commit names and that is not there would be lost for good: the position moves past its rows.
    """
    paths = [file.path for file in expected]
    # A local disk answers faster than a thread starts.
    sizes = list(map(files.size, paths)) if files.local else side_by_side(files.size, paths, threads=LOOKS_AT_ONCE, name="landfast-look")
    return next((file for file, size in zip(expected, sizes, strict=True) if size != file.nbytes), None)
