"""A table's path, and the paths of the tables beside it."""

from __future__ import annotations

import os.path
import posixpath
from pathlib import Path
from urllib.parse import unquote, urlparse, urlsplit, urlunsplit

from landfast.errors import Misconfigured


def local_path(path: str) -> Path | None:
    """The local folder that a path or `file:` URI names; None for an object store."""
    if "://" not in path:
        return Path(path).absolute()
    parsed = urlparse(path)
    return Path(unquote(parsed.path)) if parsed.scheme == "file" else None


def shown(path: str) -> str:
    """A path or URI without the user, password and query that it may carry."""
    if "://" not in path:
        return path
    parts = urlsplit(path)
    user, _, host = parts.netloc.rpartition("@")
    # In abfss://container@account the part before the @ names a container; only user:password is a secret.
    return urlunsplit((parts.scheme, host if ":" in user else parts.netloc, parts.path, "", ""))


def check_way(path: str) -> None:
    """See that a folder can be at a local path.

    Raises:
        Misconfigured: a file lies there, or on the way.
    """
    folder = local_path(path)
    if folder is None:
        return
    for step in (folder, *folder.parents):
        if step.exists():
            if step.is_dir():
                return
            message = f"{step} is a file, and the table's folder would have to be {'it' if step == folder else 'below it'}"
            raise Misconfigured("NOT_A_TABLE", message, next_step="Choose a path where a folder can be.")


def folders_above(path: str) -> list[str]:
    """The folders that a path or URI lies in, the nearest first, up to the root of the disk or of the store."""
    folder = local_path(path)
    if folder is not None:
        return [str(above) for above in folder.parents]
    parts = urlsplit(path)
    steps = [step for step in parts.path.split("/") if step]
    return [urlunsplit(parts._replace(path="".join(f"/{step}" for step in steps[:count]))) for count in reversed(range(len(steps)))]


def way_to(path: str, origin: str) -> str:
    """The way to a table from another one: relative where both lie on one disk or in one store, so that the two can be moved together."""
    here, there = local_path(origin), local_path(path)
    if here is not None and there is not None:
        return os.path.relpath(there, here)
    start, end = urlsplit(origin), urlsplit(path)
    if here is None and there is None and (start.scheme, start.netloc) == (end.scheme, end.netloc):
        return posixpath.relpath(end.path or "/", start.path or "/")
    return path if there is None else str(there)


def at_end_of(way: str, origin: str) -> str:
    """The path that a way from a table at `origin` leads to."""
    if "://" in way or way.startswith("/"):
        return way
    here = local_path(origin)
    if here is not None:
        return os.path.normpath(here / way)
    parts = urlsplit(origin)
    return urlunsplit(parts._replace(path=posixpath.normpath(posixpath.join(parts.path or "/", way))))


def letters_path(path: str) -> str:
    """Where the dead letters of the table at `path` lie."""
    return path.rstrip("/") + "__dead_letters"


def trail_path(path: str) -> str:
    """Where it is kept what people did with the dead letters of the table at `path`."""
    return path.rstrip("/") + "__trail"


def spans_path(path: str) -> str:
    """Where the spans of the table at `path` are rolled up to."""
    return path.rstrip("/") + "__spans"


def attempts_path(path: str) -> str:
    """Where the attempts of people's own writes to the table at `path` are kept."""
    return path.rstrip("/") + "__attempts"
