"""Handles of a real table whose commits meet trouble, before or after the real call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from deltalake import DeltaTable

from landfast.sinks.delta import DeltaSettings


@dataclass
class Trouble:
    """What the next commits meet: one entry of each list per call, until they are used up. `opening` is met by opening a handle."""

    before: list[Callable[[], None]] = field(default_factory=list)
    after: list[Callable[[], None]] = field(default_factory=list)
    opening: list[Callable[[], None]] = field(default_factory=list)

    def open(self, settings: DeltaSettings) -> DeltaTable:
        """An opener for `open_table`."""
        if self.opening:
            self.opening.pop(0)()
        table = TroubledTable(settings.path)
        table.trouble = self
        return table


class TroubledTable(DeltaTable):
    """A real table; only its commits are surrounded by trouble."""

    trouble: Trouble

    def create_write_transaction(self, *positional: Any, **named: Any) -> None:
        """The real call, between what is to happen before it and after it."""
        if self.trouble.before:
            self.trouble.before.pop(0)()
        super().create_write_transaction(*positional, **named)
        if self.trouble.after:
            self.trouble.after.pop(0)()


def nothing() -> None:
    """No trouble this time."""


def raising(error: BaseException) -> Callable[[], None]:
    """Trouble that is an exception."""

    def trouble() -> None:
        raise error

    return trouble


class PanicException(BaseException):
    """What a panic in native code looks like: no Exception, known by its name."""
