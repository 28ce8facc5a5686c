"""Variables laid over the file: `LANDFAST_SECTION__KEY`, and what looks like one and is none."""

from __future__ import annotations

import difflib
import itertools
import re
import tomllib
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel

from landfast.config.faults import SHARED, Fault, Place, all_of, misconfigured, sections
from landfast.config.settings import RouteSettings, Settings
from landfast.errors import Misconfigured

PREFIX = "LANDFAST_"
_NEXT_STEP = "Correct or unset the variable."
_LOOKS_ALIKE = 0.85
# What Kubernetes puts into every container for a service whose name begins with landfast.
_OF_THE_PLATFORM = re.compile(r"(?:.+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_.+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:ADDR|PORT|PROTO))?)")
_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://")
_INDEX = re.compile(r"[0-9]{1,9}")
_OF_A_ROUTE = re.compile(r"ROUTES_+(\d+)_+(.+)")


@dataclass(frozen=True, slots=True)
class Document:
    """The settings as written, before they mean anything. `origins` says which variable set a place."""

    body: dict[str, Any]
    origins: Mapping[Place, str]


def overlaid(body: dict[str, Any], environment: Mapping[str, str]) -> Document:
    """The document with variables laid over it.

    Names that platforms invent are left alone (`LANDFAST_SERVICE_HOST` for a Kubernetes service called landfast), and so is what
    resembles no setting.

    Raises:
        Misconfigured: a variable is nearly a setting, such as `LANDFAST_BATCH_ROWS`: it would be ignored in silence.
    """
    origins: dict[Place, str] = {}
    faults: list[Fault] = []
    for variable in sorted(environment):
        rest = variable.removeprefix(PREFIX)
        if rest == variable:
            continue
        if "__" not in rest and rest != "NAME":
            meant = _nearly(rest.upper(), environment[variable])
            faults += [] if meant is None else [Fault((), "CONFIG_UNKNOWN", f"{variable}: no such setting; did you mean {PREFIX}{meant}?")]
            continue
        place: Place = tuple(int(part) if _INDEX.fullmatch(part) else part.lower() for part in rest.split("__"))
        _put(body, place, _read(place, environment[variable]), variable)
        origins[place] = variable
    if faults:
        raise all_of(faults, "the environment", next_step=_NEXT_STEP)
    return Document(body, origins)


def _nearly(rest: str, value: str) -> str | None:
    """The setting that a name with single underscores most likely means; None where it means none."""
    if _OF_THE_PLATFORM.fullmatch(rest) or (rest.endswith("PORT") and _ADDRESS.match(value)):
        return None
    route = _OF_A_ROUTE.fullmatch(rest)
    if route is not None:
        return f"ROUTES__{route[1]}__{_folded_names().get(route[2], route[2])}"
    known = _folded_names()
    exact = known.get(rest) or _first_keys().get(rest)
    if exact is not None:
        return exact
    near = difflib.get_close_matches(rest, known, n=1, cutoff=_LOOKS_ALIKE)
    return known[near[0]] if near else None


def _names() -> Iterator[tuple[str, ...]]:
    """Every setting as the parts of its variable; of each section those first that it cannot do without."""
    for place, model in sections():
        for key in sorted(model.model_fields, key=lambda key: not model.model_fields[key].is_required()):
            parts = tuple(str(part).upper() for part in (*place, key))
            if parts != ("ROUTES",):
                yield parts


@cache
def _folded_names() -> Mapping[str, str]:
    """Variables as they look with single underscores, with the right name."""
    return {"_".join(parts): "__".join(parts) for parts in _names() if len(parts) > 1}


@cache
def _first_keys() -> Mapping[str, str]:
    """Sections, and keys without their section, each with a variable that is right. The shallowest place comes first."""
    first: dict[str, str] = {}
    for parts in sorted(_names(), key=len):
        if len(parts) > 1:
            first.setdefault(parts[0], "__".join(parts))
            first.setdefault(parts[-1], "__".join(parts))
    return first


def _put(body: dict[str, Any], place: Place, value: object, variable: str) -> None:
    inner: Any = body
    for part, following in itertools.pairwise(place):
        if isinstance(part, str) and isinstance(inner, dict):
            inner = inner.setdefault(part, {} if isinstance(following, str) else [])
        elif isinstance(part, int) and isinstance(inner, list) and part < len(inner):
            inner = inner[part]
        else:
            raise _no_place(variable)
    if not (isinstance(inner, dict) and isinstance(place[-1], str)):
        raise _no_place(variable)
    inner[place[-1]] = value


def _no_place(variable: str) -> Misconfigured:
    return misconfigured("CONFIG_UNKNOWN", f"{variable}: the settings have no such place", next_step=_NEXT_STEP)


def _read(place: Place, text: str) -> object:
    """A variable's value: text where the setting is a text, what TOML makes of it elsewhere (`[1, 2]`, `5`, `true`).

    A list of texts may also be written as texts with commas between.
    """
    kind = _kind(place)
    if kind is str:
        return text
    if kind is tuple and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        # Not TOML; or more digits, or more brackets, than its parser takes.
        return text


def _kind(place: Place) -> type:
    """What stands at a place: `str` for a text, `tuple` for a list, `object` for anything else and for places that do not exist."""
    names = [part for part in place if isinstance(part, str) and part != "routes"]
    model: type[BaseModel] = RouteSettings if names and (names[0] in SHARED or place[0] == "routes") else Settings
    for index, name in enumerate(names):
        field = model.model_fields.get(name)
        if field is None:
            return object
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            model = kind
            continue
        # Below a section there are only maps of text: columns and options.
        if index < len(names) - 1 or kind in (str, str | None) or typing.get_origin(kind) is Literal:
            return str
        return tuple if typing.get_origin(kind) is tuple else object
    return object
