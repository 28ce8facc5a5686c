"""Which dead letters a command line means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from landfast.errors import Misconfigured
from landfast.system import SystemClock

if TYPE_CHECKING:
    from landfast.sinks.delta.proof.acts import State
    from landfast.sinks.delta.proof.letters import LetterFilter

KEYS = ("reason", "phase", "topic", "partition", "since", "until")
_AGO = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_PARTITION = re.compile(r"[0-9]{1,10}")
_NOTHING_DONE = "Nothing was changed."


def moment_of(option: str, text: str | None) -> datetime | None:
    """A time: a date, a date and time (UTC where no zone is given), or how long ago.

    Raises:
        Misconfigured: it is none of these.
    """
    if text is None:
        return None
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            return datetime.fromtimestamp(SystemClock().now(), UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    except (ValueError, OverflowError):
        message = f"{option}: {text!r} is no time"
        next_step = f"Write 2026-11-22, 2026-11-22T14:00Z, or how long ago: 90m, 2h, 3d. {_NOTHING_DONE}"
        raise Misconfigured("CONFIG_INVALID", message, next_step=next_step) from None


def states_of(text: str) -> AbstractSet[State]:
    """The states that `--state` names.

    Raises:
        Misconfigured: there is no such state.
    """
    from landfast.sinks.delta.proof.acts import OPEN_STATES, State

    if text == "all":
        return frozenset(State)
    if text == State.OPEN:
        return OPEN_STATES
    if text in set(State):
        return frozenset({State(text)})
    message = f"--state: there is no state {text!r}"
    raise Misconfigured("CONFIG_INVALID", message, next_step=f"Say one of: {', '.join(State)}, all. {_NOTHING_DONE}")


def letters_meant(ids: Sequence[str] | None, where: Sequence[str] | None) -> tuple[list[str] | None, LetterFilter | None]:
    """The ids, or the filter, that a command line gives: one of the two.

    Raises:
        Misconfigured: it gives none or several, or a condition that cannot be read.
    """
    given = [name for name, is_given in (("ids", ids), ("--where", where)) if is_given]
    if len(given) != 1:
        message = f"{' and '.join(given)} are given" if given else "nothing says which letters are meant"
        next_step = f"Give their ids; or --where KEY=VALUE, or --where all for every open letter. {_NOTHING_DONE}"
        raise Misconfigured("CONFIG_MISSING" if not given else "CONFIG_INVALID", message, next_step=next_step)
    return (list(ids), None) if ids else (None, filter_of(where or ()))


def filter_of(conditions: Sequence[str]) -> LetterFilter:
    """The filter that `KEY=VALUE` conditions make up, all of which must hold; or `all` alone, which every letter fits.

    Raises:
        Misconfigured: one cannot be read, or a key is given twice.
    """
    from landfast.sinks.delta.proof.letters import LetterFilter

    said: dict[str, str] = {}
    for condition in () if list(conditions) == ["all"] else conditions:
        key, equals, value = condition.partition("=")
        if not equals or key not in KEYS or not _is_text(value):
            raise _refusal(f"{condition!r} is no condition", f"Write KEY=VALUE, with one of the keys {', '.join(KEYS)}.")
        if key in said:
            raise _refusal(f"{key} is given twice", "Run the command once for each.")
        said[key] = value
    number = said.pop("partition", None)
    if number is not None and not _PARTITION.fullmatch(number):
        raise _refusal(f"{number!r} is no partition", "Give its number.")
    since, until = (moment_of(f"--where {key}", said.pop(key, None)) for key in ("since", "until"))
    return LetterFilter(**said, partition=None if number is None else int(number), since=since, until=until)


def _is_text(value: str) -> bool:
    """Whether a table could hold it: what comes from a command line may be any bytes."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refusal(message: str, next_step: str) -> Misconfigured:
    return Misconfigured("CONFIG_INVALID", f"--where: {message}", next_step=f"{next_step} {_NOTHING_DONE}")
