"""From a file and the environment to `Settings`, or to one error that names everything that is wrong."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from landfast.config.environment import Document, overlaid
from landfast.config.faults import SHARED, Fault, Place, all_of, faults_of, misconfigured
from landfast.config.relations import relation_faults
from landfast.config.section import Section
from landfast.config.settings import RouteSettings, Settings
from landfast.errors import Misconfigured

S = TypeVar("S", bound=Section)

_FILE_BYTES_MAX = 1 << 20
_NESTING_MAX = 16
"""No setting lies deeper; what does would only exhaust the stack of whoever looks at it."""


def load(path: str | Path, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings in a TOML file, with `LANDFAST_SECTION__KEY` variables laid over it.

    `environment` is the process's own when it is None. Relative paths are relative to the file. Nothing is read but this file.

    Raises:
        Misconfigured: with every fault of the file at once, each with its place.
    """
    file = Path(path)
    document = overlaid(_parsed(file), os.environ if environment is None else environment)
    return _settings(document, folder=file.resolve().parent, label=str(path))


def from_mapping(body: Mapping[str, Any], *, folder: str | Path = ".", label: str = "the settings") -> Settings:
    """The settings in a mapping with the structure of the file. The environment has no say here.

    Raises:
        Misconfigured: as `load` does.
    """
    _check_nesting(body, label)
    return _settings(Document(deepcopy(dict(body)), {}), folder=Path(folder).resolve(), label=label)


def section(model: type[S], values: Mapping[str, Any], name: str) -> S:
    """One section on its own, from a mapping with its keys.

    Raises:
        Misconfigured: with every fault of the section at once.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        faults = faults_of(error, before=(name,))
    raise all_of(faults, "the settings")


def _parsed(file: Path) -> dict[str, Any]:
    next_step = "Name a settings file; `landfast init` writes one."
    try:
        with file.open("rb") as opened:
            text = opened.read(_FILE_BYTES_MAX + 1)
        if len(text) > _FILE_BYTES_MAX:
            raise misconfigured("CONFIG_UNREADABLE", f"{file}: larger than 1 MiB, which no settings file is", next_step=next_step)
    except OSError as error:
        raise misconfigured("CONFIG_UNREADABLE", f"{file}: cannot be read ({error.strerror})", next_step=next_step) from error
    except ValueError:
        raise misconfigured("CONFIG_UNREADABLE", f"{str(file)!r}: no file has such a name", next_step=next_step) from None
    return _document(file, text)


def _document(file: Path, text: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        before = text[: error.start].split(b"\n")
        words = f"not UTF-8 text: line {len(before)}, byte {len(before[-1]) + 1} of it"
        raise misconfigured("CONFIG_UNREADABLE", f"{file}: {words}", next_step="Save the file as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise misconfigured("CONFIG_UNREADABLE", f"{file}: not TOML: {error}", next_step="Correct the file at that line.") from error
    except ValueError:
        # The parser hands digits to `int`, which takes 4,300 of them.
        raise misconfigured("CONFIG_UNREADABLE", f"{file}: a number has too many digits", next_step="Correct the number.") from None
    except RecursionError:
        raise _too_deep(str(file)) from None


def _check_nesting(body: object, label: str) -> None:
    """Refuse what is nested so deep that copying, checking or showing it would end in the interpreter's recursion limit."""
    level = [body]
    for _ in range(_NESTING_MAX):
        level = [part for inner in level for part in _parts(inner)]
        if not level:
            return
    raise _too_deep(label)


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple) else ()


def _too_deep(label: str) -> Misconfigured:
    return misconfigured("CONFIG_INVALID", f"{label}: nested deeper than any setting is")


def _settings(document: Document, *, folder: Path, label: str) -> Settings:
    body = document.body
    _check_nesting(body, label)
    routed = body.get("routes", []) != []
    try:
        settings = _rooted(Settings.model_validate(_normal(body, routed=routed)), folder)
    except UnicodeEncodeError:
        # A variable's name may hold any byte; as a key it is nothing that any part of the settings can be.
        raise misconfigured("CONFIG_INVALID", f"{label}: a key is no text that UTF-8 can write") from None
    except ValidationError as error:
        faults = faults_of(error)
    else:
        faults = relation_faults(settings)
        if not faults:
            return settings
    raise all_of([_named(_relocated(fault, body, routed=routed), document.origins) for fault in faults], label)


def _normal(body: Mapping[str, Any], *, routed: bool) -> dict[str, Any]:
    """The document with its routes spelled out: what a route leaves out comes from the top, key by key."""
    top = {key: value for key, value in body.items() if key not in SHARED and key != "routes"}
    shared = {key: body[key] for key in SHARED if key in body}
    if not routed:
        source = body.get("source")
        topics = {key: source[key] for key in ("topics", "topic_pattern") if key in source} if isinstance(source, Mapping) else {}
        # A name that is missing or no text is reported where it is written; the route needs one all the same.
        name = body["name"] if isinstance(body.get("name"), str) else "pipeline"
        return {**top, "routes": [{"sink": {}, **shared, **topics, "name": name}]}
    if not isinstance(body["routes"], list):
        return {**top, "routes": body["routes"]}
    return {**top, "routes": [_merged(route, shared) if isinstance(route, Mapping) else route for route in body["routes"]]}


def _merged(route: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(route)
    for key, defaults in shared.items():
        own = route.get(key, {})
        result[key] = {**defaults, **own} if isinstance(defaults, Mapping) and isinstance(own, Mapping) else route.get(key, defaults)
    result.setdefault("sink", {})
    return result


def _relocated(fault: Fault, body: Mapping[str, Any], *, routed: bool) -> Fault:
    """The fault at the place where the user wrote what is wrong, not where the normal form has it."""
    place = fault.place
    if len(place) > 2 and place[0] == "routes" and isinstance(place[1], int):  # noqa: PLR2004 — routes, index, key
        inner = place[2:]
        if not routed:
            return fault.at(("source", *inner) if inner[0] in ("topics", "topic_pattern") else inner)
        if inner[0] in SHARED and not _written(body["routes"][place[1]], inner) and _written(body, inner):
            return fault.at(inner)
    return fault


def _written(body: object, place: Place) -> bool:
    for part in place:
        if not (isinstance(body, Mapping) and part in body):
            return False
        body = body[part]
    return True


def _rooted(settings: Settings, folder: Path) -> Settings:
    """The settings with relative paths made absolute, with the group and the routes' topics filled in."""
    source = settings.source
    topics = source.topics
    if not topics and source.topic_pattern is None:
        topics = tuple(dict.fromkeys(topic for route in settings.routes for topic in route.topics))
    source = source.model_copy(update={"topics": topics, "group": settings.group, "options": source.options.under(folder)})
    routes = tuple(_rooted_route(route, folder) for route in settings.routes)
    return settings.model_copy(update={"source": source, "routes": routes})


def _rooted_route(route: RouteSettings, folder: Path) -> RouteSettings:
    sink = route.sink
    path = _located(sink.path, folder)
    update = {"path": path.rstrip("/") or path, "storage_options": sink.storage_options.under(folder)}
    return route.model_copy(update={"sink": sink.model_copy(update=update)})


def _located(path: str, folder: Path) -> str:
    if re.match(r"^[A-Za-z][A-Za-z0-9+.-]*://", path):
        return path
    try:
        return os.path.normpath(folder / Path(path).expanduser())
    except (RuntimeError, ValueError):
        # Whose home it is cannot be found out; a folder named after a tilde is what nobody means.
        message = f"sink.path: {path!r}: no such home folder"
        raise misconfigured("CONFIG_INVALID", message, next_step="Write the folder out.") from None


def _named(fault: Fault, origins: Mapping[Place, str]) -> Fault:
    """The fault with the variable that set its place, or that made a place which is unknown."""
    for place, variable in origins.items():
        if fault.place[: len(place)] == place or (fault.code == "CONFIG_UNKNOWN" and place[: len(fault.place)] == fault.place):
            return fault.because(f"set by {variable}")
    return fault
