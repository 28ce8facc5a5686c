"""A real table whose commits meet trouble, before or after the moment at which their log entry gets its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from deltalake import DeltaTable

from landfast.sinks.delta import DeltaSettings
from landfast.sinks.delta.files.local import Disk
from landfast.sinks.delta.table.place import open_handle
from tests.sinks.delta_world import DeltaWorld


@dataclass
class Trouble:
    """What the next commits meet: one entry of each list per commit, until they are used up. `opening` is met by opening a handle."""

    before: list[Callable[[], None]] = field(default_factory=list)
    after: list[Callable[[], None]] = field(default_factory=list)
    opening: list[Callable[[], None]] = field(default_factory=list)

    def open(self, settings: DeltaSettings) -> DeltaTable:
        """An opener for `open_table`."""
        if self.opening:
            self.opening.pop(0)()
        return open_handle(settings)


class TroubledDisk(Disk):
    """A real disk; only the naming of log entries is surrounded by trouble."""

    def __init__(self, trouble: Trouble) -> None:
        self._trouble = trouble

    def link(self, path: Path, name: Path) -> None:
        """The real act, between what is to happen before it and after it."""
        if self._trouble.before:
            self._trouble.before.pop(0)()
        super().link(path, name)
        if self._trouble.after:
            self._trouble.after.pop(0)()


def troubled(world: DeltaWorld) -> Trouble:
    """The trouble that this world's commits meet from now on."""
    made = Trouble()
    world.opener, world.disk = made.open, TroubledDisk(made)
    return made


def nothing() -> None:
    """No trouble this time."""


def raising(error: BaseException) -> Callable[[], None]:
    """Trouble that is an exception."""

    def trouble() -> None:
        raise error

    return trouble


class PanicException(BaseException):
    """What a panic in native code looks like: no Exception, known by its name."""
