"""What an exception of deltalake, obstore, pyarrow or the operating system means, in one table.

deltalake's classes say little: the same class carries a full disk, a refused credential and a lost race, and a Rust panic is not even
an Exception. So the text decides first, cleaned of colour codes; then the number of the system's error; then the class.
"""

from __future__ import annotations

import enum
import errno
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pyarrow as pa
from deltalake.exceptions import CommitFailedError, DeltaError, DeltaProtocolError, SchemaMismatchError, TableNotFoundError
from obstore import exceptions as obstore

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# What a file is called and how long a request took are no reasons, however much they look like a status. What a store's client says a
# second time, for its own developers, is only of these.
_NOISE = re.compile(r"(?s:\n\s*Debug source:.*)|(?<=://)([^/\s]*)/\S*|\b[\d.]+(?:ns|µs|ms|s)\b|\b(?:location|path) \S+(?= )")
_NUMBER = re.compile(r"\b(?:os error |\[Errno )(\d+)\b")


class Fate(enum.Enum):
    """What an exception means for the call it came from."""

    INTERFERENCE = "interference"
    """Somebody's commit made this attempt stale; a fresh handle may succeed."""
    TRANSIENT = "transient"
    THROTTLED = "throttled"
    AUTH = "auth"
    NO_CREDENTIALS = "no credentials"
    NO_BUCKET = "no bucket"
    NO_FOLDER = "no folder"
    """A file lies where a folder has to be."""
    DISK = "disk"
    DESCRIPTORS = "descriptors"
    MEMORY = "memory"
    MISSING = "missing"
    DATA = "data"
    """A value that a library cannot take; it does not say in which row."""
    SCHEMA = "schema"
    """Types or columns that do not fit together."""
    REFUSED = "refused"
    """What was asked for cannot be: a name, an option, an operation."""
    DAMAGED = "damaged"
    UNSUPPORTED = "unsupported"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Rule:
    """A text that deltalake, the store or the system uses, and what it means."""

    pattern: str
    fate: Fate


# The first rule whose pattern is found decides; the order is from the particular to the general.
RULES: tuple[Rule, ...] = (
    Rule(r"Concurrent transaction failed", Fate.INTERFERENCE),
    Rule(r"Metadata changed since last commit", Fate.INTERFERENCE),
    Rule(r"Protocol changed since last commit", Fate.INTERFERENCE),
    Rule(r"(deleted data this operation read|added new data|deleted the same data)", Fate.INTERFERENCE),
    Rule(r"Cannot merge types", Fate.INTERFERENCE),
    Rule(r"Failed to commit transaction: \d+", Fate.INTERFERENCE),
    Rule(r"Invalid table version", Fate.INTERFERENCE),
    Rule(r"(already exists|VersionAlreadyExists)", Fate.INTERFERENCE),
    Rule(r"(append-only|[Tt]able features|Unsupported|column mapping)", Fate.UNSUPPORTED),
    Rule(
        r"(found gap|Json error|JSONDecodeError|DamagedRecord|Corrupt footer|Malformed JSON|unexpected '|Invalid Parquet"
        r"|checkpoint.*corrupt)",
        Fate.DAMAGED,
    ),
    Rule(r"(NoSuchBucket|bucket does not exist|ContainerNotFound)", Fate.NO_BUCKET),
    Rule(r"(Not a directory|os error 20\b|NotADirectory)", Fate.NO_FOLDER),
    Rule(
        r"(169\.254\.169\.254|metadata\.google\.internal|loading credentials|\bIMDS\b|[Mm]issing region|[Mm]issing credentials"
        r"|no providers in chain)",
        Fate.NO_CREDENTIALS,
    ),
    Rule(r"(No space left on device|os error 28\b|[Qq]uota exceeded|os error 122\b)", Fate.DISK),
    Rule(r"(\b429\b|Too Many Requests|SlowDown|503 Service Unavailable|503 Slow Down)", Fate.THROTTLED),
    Rule(
        r"(\b401\b|\b403\b|Forbidden|Unauthorized|lacked the necessary privileges|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch"
        r"|Permission denied|os error 13\b|Read-only file system|os error 30\b|Operation not permitted|os error 1\b)",
        Fate.AUTH,
    ),
    Rule(
        r"(timed? ?out|[Cc]onnection|dns error|error sending request|reset by peer|broken pipe|\b50[0234]\b|409 Conflict)", Fate.TRANSIENT
    ),
    Rule(r"(Too many open files|os error 24\b)", Fate.DESCRIPTORS),
    Rule(r"(Forked process|os error 11\b|os error 4\b)", Fate.TRANSIENT),
    Rule(
        r"(Not a Delta table|[Nn]o files in log segment|does not exist|[Nn]ot ?[Ff]ound|No such file|\b404\b)",
        Fate.MISSING,
    ),
)


# The system's numbers, where no text told more. What stands neither here nor in a rule is unknown.
_NUMBERS_OF: Mapping[Fate, str] = {
    Fate.AUTH: "EACCES EPERM EROFS",
    Fate.DESCRIPTORS: "EMFILE ENFILE",
    Fate.DISK: "EDQUOT EFBIG ENOSPC",
    Fate.MEMORY: "ENOMEM",
    Fate.MISSING: "ENOENT",
    Fate.NO_FOLDER: "EEXIST ENOTDIR",
    Fate.REFUSED: "EINVAL EISDIR ELOOP ENAMETOOLONG ENOSYS ENOTEMPTY EOPNOTSUPP EXDEV",
    Fate.TRANSIENT: """
        EAGAIN EBUSY ECONNABORTED ECONNREFUSED ECONNRESET EHOSTDOWN EHOSTUNREACH EINTR ENETDOWN ENETRESET ENETUNREACH ENOBUFS ENOLCK
        ENOTCONN EPIPE ESHUTDOWN ESTALE ETIMEDOUT
    """,
}
NUMBERS: Mapping[int, Fate] = MappingProxyType(
    {getattr(errno, name): fate for fate, names in _NUMBERS_OF.items() for name in names.split() if hasattr(errno, name)}
)
"""What each number of the operating system means; others say nothing."""

# Classes of which neither the text nor a number said more. A class that is not here counts as the nearest above it.
_CLASSES_OF: Mapping[Fate, tuple[type[BaseException], ...]] = {
    Fate.AUTH: (
        obstore.PermissionDeniedError,
        obstore.UnauthenticatedError,
        PermissionError,
    ),
    Fate.DATA: (pa.ArrowCapacityError, pa.ArrowInvalid, pa.ArrowSerializationError),
    Fate.INTERFERENCE: (obstore.AlreadyExistsError, obstore.NotModifiedError, obstore.PreconditionError),
    Fate.MEMORY: (pa.ArrowMemoryError, MemoryError),
    Fate.MISSING: (TableNotFoundError, obstore.NotFoundError, FileNotFoundError),
    Fate.NO_FOLDER: (FileExistsError, NotADirectoryError),
    Fate.REFUSED: (
        obstore.InvalidPathError,
        obstore.NotSupportedError,
        obstore.UnknownConfigurationKeyError,
        pa.ArrowIndexError,
        IsADirectoryError,
        NotImplementedError,
    ),
    Fate.SCHEMA: (SchemaMismatchError, pa.ArrowKeyError, pa.ArrowNotImplementedError, pa.ArrowTypeError),
    Fate.TRANSIENT: (
        pa.ArrowCancelled,
        BlockingIOError,
        ConnectionError,
        InterruptedError,
        TimeoutError,
        socket.gaierror,
    ),
    Fate.UNKNOWN: (
        CommitFailedError,
        DeltaError,
        DeltaProtocolError,
        obstore.BaseError,
        obstore.GenericError,
        obstore.JoinError,
        pa.ArrowException,
        Exception,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
        BaseException,
    ),
}
CLASSES: Mapping[type[BaseException], Fate] = MappingProxyType({kind: fate for fate, kinds in _CLASSES_OF.items() for kind in kinds})
"""What each class of the drivers means by itself."""
PANIC = "PanicException"
"""The class of a Rust panic, which is no Exception and stands in no module that could be imported."""


def text_of(error: BaseException) -> str:
    """The text of an exception and of its causes, without colours, paths and times. For classification only: it may hold secrets."""
    parts: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(parts) < 5:  # noqa: PLR2004 — a chain is never deeper in practice; the bound keeps a cycle from hanging us
        parts.append(_NOISE.sub(r"\1", COLOURS.sub("", f"{type(seen).__name__} {seen}")))
        seen = seen.__cause__ or seen.__context__
    return "\n".join(parts)


def fate_of(error: BaseException) -> Fate:
    """What the exception means: by the first rule that its text matches, else by its number, else by its class."""
    text = text_of(error)
    ruled = next((rule.fate for rule in RULES if re.search(rule.pattern, text)), None)
    if ruled is not None:
        return ruled
    return _by_number(error, text) or by_class(error)


def fate_of_stranger(error: BaseException) -> Fate:
    """What an exception means that no driver of ours defines: its text is not looked at, since nobody knows of what it speaks."""
    return _by_number(error, "") or by_class(error)


def _by_number(error: BaseException, text: str) -> Fate | None:
    found = _NUMBER.search(text)
    number = error.errno if isinstance(error, OSError) and error.errno is not None else int(found[1]) if found else 0
    return NUMBERS.get(number)


def by_class(error: BaseException) -> Fate:
    """What the class of an exception, or the nearest known one above it, means."""
    return next(CLASSES[kind] for kind in type(error).__mro__ if kind in CLASSES)
