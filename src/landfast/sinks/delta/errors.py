"""Every exception of deltalake, pyarrow and the operating system, mapped to one of ours in one table.

deltalake's classes say little: the same class carries a full disk, a refused credential and a lost race, and a Rust panic is not even
an Exception. So the text decides, cleaned of colour codes first. What is passed on to people is our own sentence and the class of the
original, not its text: that may hold a URL with credentials or a preview of rows. Only where we have no sentence of our own is the first
line of a store's text passed on, without all that could be a secret or a value.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from deltalake.exceptions import DeltaError
from obstore.exceptions import BaseError as StoreError

from landfast.errors import Broken, LandfastError, Misconfigured, Unavailable

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# What a file is called and how long a request took are no reasons, however much they look like a status. What a store's client says a
# second time, for its own developers, is only of these.
_NOISE = re.compile(r"(?s:\n\s*Debug source:.*)|(?<=://)([^/\s]*)/\S*|\b[\d.]+(?:ns|µs|ms|s)\b|\b(?:location|path) \S+(?= )")
_RETRY = "A run tries it again by itself. If it repeats, look at the store."
_SET_CREDENTIALS = (
    "Give credentials in sink.storage_options or in the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION "
    "(and AWS_ENDPOINT_URL for a store of your own); AZURE_STORAGE_ACCOUNT_KEY; or GOOGLE_SERVICE_ACCOUNT."
)
_BELONGS_TO_OPERATOR = frozenset({"BUCKET_MISSING", "NOT_A_TABLE", "SINK_AUTH", "TABLE_MISSING"})
"""Codes behind which is a setting or its surroundings: nothing that waiting would mend."""

# Whatever could show a secret or a value of a row: URLs, quoted and bracketed parts, named secrets, long numbers and tokens.
_SHOWN_CHARACTERS_MAX = 200
_HIDDEN = (
    (re.compile(r"(\w+://)(?:[^/@\s]*@)?([^/\s?]*)\S*"), r"\1\2"),
    (re.compile(r"(?<!\w)([\"'`]).*?(?:\1|$)|\{.*?(?:\}|$)|\[.*?(?:\]|$)|<.*"), "…"),
    (re.compile(r"(?i)\b([\w-]*(?:key|secret|token|passw|signature|credential|sas|auth)[\w-]*\s*[=:])\s*\S+"), r"\1 …"),
    (re.compile(r"(?=\S*\d)[\w+/=%.-]{16,}|\d{5,}"), "…"),
)


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
    MISSING = "missing"
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


def text_of(error: BaseException) -> str:
    """The text of an exception and of its causes, without colours, paths and times. For classification only: it may hold secrets."""
    parts: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(parts) < 5:  # noqa: PLR2004 — a chain is never deeper in practice; the bound keeps a cycle from hanging us
        parts.append(f"{type(seen).__name__} {seen}")
        seen = seen.__cause__ or seen.__context__
    return _NOISE.sub(r"\1", _COLOURS.sub("", "\n".join(parts)))


def fate_of(error: BaseException) -> Fate:
    """What the exception means, by the first rule that matches."""
    text = text_of(error)
    return next((rule.fate for rule in RULES if re.search(rule.pattern, text)), Fate.UNKNOWN)


def first_line(error: BaseException) -> str:
    """The first line of what a store or its client says, fit to be shown; empty where the text may speak of rows."""
    if not isinstance(error, (OSError, DeltaError, StoreError)):
        return ""
    text = next((line.strip() for line in _COLOURS.sub("", str(error)).splitlines() if line.strip()), "")
    for pattern, replacement in _HIDDEN:
        text = pattern.sub(replacement, text)
    return text[:_SHOWN_CHARACTERS_MAX].rstrip(" .:")


def is_foreign(error: BaseException) -> bool:
    """Whether an exception is the driver's to map: any Exception, and a Rust panic, which is a BaseException."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def translated(error: BaseException, action: str) -> LandfastError:
    """The exception as one of ours. `action` says what was being done, in words that hold no secret."""
    if isinstance(error, LandfastError):
        return error
    fate = fate_of(error)
    said = first_line(error) if fate is Fate.UNKNOWN else ""
    what = f"{action}: {said or _SENTENCES[fate]} ({type(error).__name__})."
    if fate is Fate.DAMAGED:
        return Broken("LOG_CORRUPT", what, next_step="Keep the table as it is and look at the newest files of its _delta_log.")
    if fate is Fate.UNSUPPORTED:
        return Broken("PROTOCOL_UNSUPPORTED", what, next_step="Remove the table feature, or write to another table.")
    code, kind, next_step = _UNAVAILABLE[fate]
    return Unavailable(code, what, kind=kind, next_step=next_step)


_SENTENCES = {
    Fate.INTERFERENCE: "another writer changed the table at the same time",
    Fate.TRANSIENT: "the store did not answer as it should",
    Fate.THROTTLED: "the store asks for fewer requests",
    Fate.AUTH: "the store refused access",
    Fate.DISK: "no space is left",
    Fate.DESCRIPTORS: "no file can be opened any more",
    Fate.MISSING: "the table or a part of it was not found",
    Fate.DAMAGED: "the table's log cannot be read",
    Fate.UNSUPPORTED: "the table demands a feature that is not supported",
    Fate.NO_CREDENTIALS: "no credentials for the store were found",
    Fate.NO_BUCKET: "the store has no such bucket or container",
    Fate.NO_FOLDER: "a file lies at the path, or on the way to it, where a folder has to be",
    Fate.UNKNOWN: "it failed in a way that is not known, and the text may show values",
}

_UNAVAILABLE = {
    Fate.INTERFERENCE: ("COMMIT_CONFLICT", "transient", _RETRY),
    Fate.TRANSIENT: ("SINK_DOWN", "transient", _RETRY),
    Fate.THROTTLED: ("SINK_THROTTLED", "throttled", _RETRY),
    Fate.AUTH: ("SINK_AUTH", "auth", "Give this process access to the table's path, or correct its credentials; a run goes on by itself."),
    Fate.DISK: ("DISK_FULL", "disk", "Free some space; a run goes on by itself."),
    Fate.DESCRIPTORS: ("FD_LIMIT", "transient", "Raise the limit (`ulimit -n`), or look for what holds so many files."),
    Fate.MISSING: ("TABLE_MISSING", "unknown", "Bring the table back, or start anew with an empty path."),
    Fate.NO_CREDENTIALS: ("SINK_AUTH", "auth", _SET_CREDENTIALS),
    Fate.NO_BUCKET: ("BUCKET_MISSING", "unknown", "Create the bucket, or correct sink.path, or the endpoint in sink.storage_options."),
    Fate.NO_FOLDER: ("NOT_A_TABLE", "unknown", "Choose a path where a folder can be."),
    Fate.UNKNOWN: ("SINK_DOWN", "unknown", "Look at what the message says, and at the store; a run tries it again by itself."),
}


@contextmanager
def mapped(action: str) -> Iterator[None]:
    """Let only errors of ours out of the block; the cause is chained."""
    try:
        yield
    except LandfastError:
        raise
    except BaseException as error:
        if not is_foreign(error):
            raise
        raise translated(error, action) from error


@contextmanager
def looked(action: str) -> Iterator[None]:
    """Like `mapped`, for a look that is not tried again by itself: what an operator has to change is Misconfigured."""
    try:
        with mapped(action):
            yield
    except Unavailable as error:
        if error.code in _BELONGS_TO_OPERATOR:
            raise Misconfigured(error.code, error.message, next_step=error.next_step) from error
        raise
