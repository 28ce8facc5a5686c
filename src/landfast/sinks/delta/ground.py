"""What lies at a table's path before there is a table: a file in the way, or files of somebody else."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from landfast.errors import Misconfigured
from landfast.sinks.delta.files import LOG, Files, local_path

OWN_PREFIX = "_landfast"


def shown(path: str) -> str:
    """A path or URI without the user, password and query that it may carry."""
    if "://" not in path:
        return path
    parts = urlsplit(path)
    user, _, host = parts.netloc.rpartition("@")
    # In abfss://container@account the part before the @ names a container; only user:password is a secret.
    return urlunsplit((parts.scheme, host if ":" in user else parts.netloc, parts.path, "", ""))


def spans_path(path: str) -> str:
    """Where the spans of the table at `path` are rolled up to."""
    return path.rstrip("/") + "__spans"


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


def strange_contents(path: str, files: Files) -> Misconfigured | None:
    """Why no table is created at a path where there is none yet: something else is there. None where the place is free."""
    strange = [name for name in files.names("") if not name.startswith(OWN_PREFIX) and name != LOG]
    if not strange:
        return None
    count = f"{len(strange)} files or folders" if len(strange) > 1 else "a file or folder"
    message = f"{shown(path)} holds {count}, and no Delta table"
    return Misconfigured("NOT_A_TABLE", message, next_step="Choose an empty path, or one that holds a Delta table.")
