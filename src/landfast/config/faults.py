"""What is wrong with a document, each fault with its place and, where there is one, the nearest known name."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from landfast.config.settings import RouteSettings, Settings
from landfast.errors import Misconfigured

Place = tuple[str | int, ...]

SHARED = ("decode", "sink", "batch", "dead_letters", "retry")
"""The sections that stand at the top as well as in a route."""

_NEXT_STEP = "Correct the settings; `landfast check` tells whether all is well."
_WORDS: Mapping[str, str] = {
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be a text",
    "tuple_type": "must be a list",
    "dict_type": "must be a table of keys and values",
    "model_type": "must be a section (a table of keys and values)",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "finite_number": "must be a finite number",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_long": "must have at most {max_length} entries",
    "too_short": "must have at least {min_length} entries",
    "string_pattern_mismatch": "must match {pattern}",
    "datetime_type": "must be a TOML date-time with its offset, such as 2026-01-31T00:00:00Z",
    "timezone_aware": "must carry its offset, such as 2026-01-31T00:00:00Z",
    "is_instance_of": "must be a table of keys and values",
    "value_error": "{error}",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: where, its code, and what to say."""

    place: Place
    code: str
    words: str

    def at(self, place: Place) -> Fault:
        """The same fault at another place."""
        return replace(self, place=place)

    def because(self, cause: str) -> Fault:
        """The same fault with its cause added."""
        return replace(self, words=f"{self.words} ({cause})")

    def text(self) -> str:
        """The fault in one line."""
        return f"{dotted(self.place)}: {self.words}" if self.place else self.words


def dotted(place: Place) -> str:
    """A place as people write it: `routes[0].sink.path`."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def misconfigured(code: str, message: str, *, next_step: str = _NEXT_STEP) -> Misconfigured:
    """The error for settings that cannot be used."""
    return Misconfigured(code, message, next_step=next_step)


def all_of(faults: Sequence[Fault], label: str, *, next_step: str = _NEXT_STEP) -> Misconfigured:
    """One error for all faults of `label`; its code is that of the first."""
    lines = list(dict.fromkeys(fault.text() for fault in faults))
    if len(lines) == 1:
        return misconfigured(faults[0].code, f"{label}: {lines[0]}", next_step=next_step)
    words = f"{label}: {len(lines)} faults\n" + "\n".join(f"  {line}" for line in lines)
    return misconfigured(faults[0].code, words, next_step=next_step)


def nearest(word: str, known: Sequence[str]) -> str | None:
    """The known name that looks most like `word`, or None."""
    found = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return found[0] if found else None


def sections(model: type[BaseModel] = Settings, before: Place = ()) -> Iterator[tuple[Place, type[BaseModel]]]:
    """Every section of the file with its place; those that a route shares with the top are named once, at the top."""
    yield before, model
    if model is Settings:
        for name in SHARED:
            yield from sections(section(RouteSettings, name), (name,))
    for name in model.model_fields:
        if _is_section(model.model_fields[name].annotation):
            yield from sections(section(model, name), (*before, name))


def section(model: type[BaseModel], name: str) -> type[BaseModel]:
    """The model of the section `name` of `model`."""
    kind: Any = model.model_fields[name].annotation
    return kind  # type: ignore[no-any-return]


def _is_section(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def faults_of(error: ValidationError, before: Place = ()) -> list[Fault]:
    """The faults that pydantic found below the place `before`, in words of ours and without any value."""
    found = [_fault(details, before) for details in error.errors(include_url=False, include_input=True)]
    # A route that is wrong is left out, and pydantic then also finds the list too short.
    return [fault for fault in found if len(found) == 1 or fault.place != ("routes",)]


def _fault(details: ErrorDetails, before: Place) -> Fault:
    place: Place = (*before, *details["loc"])
    kind = details["type"]
    if kind == "extra_forbidden":
        return Fault(place, "CONFIG_UNKNOWN", _unknown_key(place))
    if kind == "missing":
        return Fault(place, "CONFIG_MISSING", "is missing")
    if kind == "literal_error":
        return Fault(place, "CONFIG_UNKNOWN", _unknown_value(place, details["input"]))
    words = _WORDS.get(kind)
    return Fault(place, "CONFIG_INVALID", details["msg"] if words is None else words.format(**details.get("ctx", {})))


def _unknown_key(place: Place) -> str:
    model, word = model_at(place[:-1]), str(place[-1])
    known = [*model.model_fields, *(SHARED if model is Settings else ())]
    near = nearest(word, known)
    if near is not None:
        return f"unknown key; did you mean {near}?"
    elsewhere = [dotted((*at, word)) for at, other in sections() if word in other.model_fields]
    if elsewhere:
        return f"unknown key here; did you mean {elsewhere[0]}?"
    return f"unknown key; known are {', '.join(sorted(known))}"


def _unknown_value(place: Place, given: object) -> str:
    choices = [str(choice) for choice in typing.get_args(model_at(place[:-1]).model_fields[str(place[-1])].annotation)]
    near = nearest(given, choices) if isinstance(given, str) else None
    return f"unknown value; did you mean {near}?" if near else f"unknown value; known are {', '.join(choices)}"


def model_at(place: Place) -> type[BaseModel]:
    """The model of the section at a place of the normal form."""
    model: type[BaseModel] = Settings
    for part in place:
        if model is Settings and (part == "routes" or part in SHARED):
            model = RouteSettings if part == "routes" else section(RouteSettings, str(part))
        elif isinstance(part, str) and part in model.model_fields and _is_section(model.model_fields[part].annotation):
            model = section(model, part)
    return model
