"""Every exception of deltalake, obstore, pyarrow and the operating system as one of ours: what becomes of what `fates` says it means.

What is passed on to people is our own sentence and the class of the original, not its text: that may hold a URL with credentials or a
preview of rows. Only where we have no sentence of our own is the first line of a store's text passed on, without all that could be a
secret or a value.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from deltalake.exceptions import DeltaError
from obstore.exceptions import BaseError as StoreError

from landfast.errors import CLASS_OF_KIND, Broken, ErrorClass, KnownError, LandfastError, Misconfigured, Unavailable
from landfast.sinks.delta.fates import CLASSES, COLOURS, NUMBERS, PANIC, RULES, Fate, fate_of, fate_of_stranger

_RETRY = "A run tries it again by itself. If it repeats, look at the store."
_SET_CREDENTIALS = (
    "Give credentials in sink.storage_options or in the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION "
    "(and AWS_ENDPOINT_URL for a store of your own); AZURE_STORAGE_ACCOUNT_KEY; or GOOGLE_SERVICE_ACCOUNT."
)
_GIVE_ACCESS = "Give this process access to the table's path, or correct its credentials; a run goes on by itself."
_CREATE_BUCKET = "Create the bucket, or correct sink.path, or the endpoint in sink.storage_options."
_NEED_LESS = "Lower `engine.memory_bytes` or `batch.bytes`, or give the process more memory."
_LOOK_AT_DRIVER = "Look at what the message names; a run tries it again by itself, and drops nothing."
_BELONGS_TO_OPERATOR = frozenset({"BUCKET_MISSING", "CALL_REFUSED", "NOT_A_TABLE", "SINK_AUTH", "TABLE_MISSING"})
"""Codes behind which is a setting or its surroundings: nothing that waiting would mend."""

# Whatever could show a secret or a value of a row: URLs, quoted and bracketed parts, named secrets, long numbers and tokens.
_SHOWN_CHARACTERS_MAX = 200
_HIDDEN = (
    (re.compile(r"(\w+://)(?:[^/@\s]*@)?([^/\s?]*)\S*"), r"\1\2"),
    (re.compile(r"(?<!\w)([\"'`]).*?(?:\1|$)|\{.*?(?:\}|$)|\[.*?(?:\]|$)|<.*"), "…"),
    (re.compile(r"(?i)\b([\w-]*(?:key|secret|token|passw|signature|credential|sas|auth)[\w-]*\s*[=:])\s*\S+"), r"\1 …"),
    (re.compile(r"(?=\S*\d)[\w+/=%.-]{16,}|\d{5,}"), "…"),
)


def first_line(error: BaseException) -> str:
    """The first line of what a store or its client says, fit to be shown; empty where the text may speak of rows."""
    if not isinstance(error, (OSError, DeltaError, StoreError)):
        return ""
    text = next((line.strip() for line in COLOURS.sub("", str(error)).splitlines() if line.strip()), "")
    for pattern, replacement in _HIDDEN:
        text = pattern.sub(replacement, text)
    return text[:_SHOWN_CHARACTERS_MAX].rstrip(" .:")


def is_foreign(error: BaseException) -> bool:
    """Whether an exception is the driver's to map: any Exception, and a Rust panic, which is a BaseException."""
    return isinstance(error, Exception) or type(error).__name__ == PANIC


def translated(error: BaseException, action: str) -> LandfastError:
    """The exception as one of ours. `action` says what was being done, in words that hold no secret."""
    if isinstance(error, LandfastError):
        return error
    fate = fate_of(error)
    said = first_line(error) if fate is Fate.UNKNOWN else ""
    what = f"{action}: {said or _SENTENCES[fate]} ({type(error).__name__})."
    if fate in _BROKEN:
        code, next_step = _BROKEN[fate]
        return Broken(code, what, next_step=next_step)
    code, kind, next_step = _UNAVAILABLE[fate]
    return Unavailable(code, what, kind=kind, next_step=next_step)


_SENTENCES = {
    Fate.INTERFERENCE: "another writer changed the table at the same time",
    Fate.TRANSIENT: "the store did not answer as it should",
    Fate.THROTTLED: "the store asks for fewer requests",
    Fate.AUTH: "the store refused access",
    Fate.DISK: "no space is left",
    Fate.DESCRIPTORS: "no file can be opened any more",
    Fate.MEMORY: "the process did not get the memory that it asked for",
    Fate.DATA: "a library cannot take a value, and does not say in which row",
    Fate.SCHEMA: "columns or types do not fit together",
    Fate.REFUSED: "what was asked for cannot be",
    Fate.MISSING: "the table or a part of it was not found",
    Fate.DAMAGED: "the table's log cannot be read",
    Fate.UNSUPPORTED: "the table demands a feature that is not supported",
    Fate.NO_CREDENTIALS: "no credentials for the store were found",
    Fate.NO_BUCKET: "the store has no such bucket or container",
    Fate.NO_FOLDER: "a file lies at the path, or on the way to it, where a folder has to be",
    Fate.UNKNOWN: "it failed in a way that is not known, and the text may show values",
}

_BROKEN = {
    Fate.DAMAGED: ("LOG_CORRUPT", "Keep the table as it is and look at the newest files of its _delta_log."),
    Fate.UNSUPPORTED: ("PROTOCOL_UNSUPPORTED", "Remove the table feature, or write to another table."),
}

_UNAVAILABLE = {
    Fate.INTERFERENCE: ("COMMIT_CONFLICT", ErrorClass.CONFLICT, _RETRY),
    Fate.TRANSIENT: ("SINK_DOWN", ErrorClass.TRANSIENT, _RETRY),
    Fate.THROTTLED: ("SINK_THROTTLED", ErrorClass.THROTTLED, _RETRY),
    Fate.AUTH: ("SINK_AUTH", ErrorClass.AUTH, _GIVE_ACCESS),
    Fate.DISK: ("DISK_FULL", "disk", "Free some space; a run goes on by itself."),
    Fate.DESCRIPTORS: ("FD_LIMIT", ErrorClass.TRANSIENT, "Raise the limit (`ulimit -n`), or look for what holds so many files."),
    Fate.MISSING: ("TABLE_MISSING", ErrorClass.PERMANENT, "Bring the table back, or start anew with an empty path."),
    Fate.MEMORY: ("MEMORY_EXHAUSTED", ErrorClass.TRANSIENT, _NEED_LESS),
    Fate.DATA: ("BATCH_REFUSED", ErrorClass.DATA, _LOOK_AT_DRIVER),
    Fate.SCHEMA: ("BATCH_REFUSED", ErrorClass.SCHEMA, _LOOK_AT_DRIVER),
    Fate.REFUSED: ("CALL_REFUSED", ErrorClass.PERMANENT, _LOOK_AT_DRIVER),
    Fate.NO_CREDENTIALS: ("SINK_AUTH", ErrorClass.AUTH, _SET_CREDENTIALS),
    Fate.NO_BUCKET: ("BUCKET_MISSING", ErrorClass.PERMANENT, _CREATE_BUCKET),
    Fate.NO_FOLDER: ("NOT_A_TABLE", ErrorClass.PERMANENT, "Choose a path where a folder can be."),
    Fate.UNKNOWN: ("SINK_DOWN", ErrorClass.UNKNOWN, "Look at what the message says, and at the store; a run tries it again by itself."),
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


STRANGER = "stranger"
"""Who raises what no driver of ours defines."""
_DRIVER_OF_MODULE = {"_internal": "deltalake", "deltalake": "deltalake", "obstore": "obstore", "pyarrow": "pyarrow"}
_RETRIED = "tried again; then the lanes halt"
_STOPPED = "the route stops"


def known_errors() -> list[KnownError]:
    """The sink's part of the table of errors: texts in the order in which they decide, then numbers, then classes."""
    texts = [_line("deltalake, obstore", f"text: {rule.pattern}", rule.fate) for rule in RULES]
    numbers = [_line("system", errno.errorcode[number], fate, os.strerror(number)) for number, fate in sorted(NUMBERS.items())]
    numbers.append(_line("system", "any other number", Fate.UNKNOWN))
    classes = sorted((_driver(kind), kind.__name__, fate) for kind, fate in CLASSES.items())
    classes.append(("deltalake", PANIC, Fate.UNKNOWN))
    return texts + numbers + [_line(driver, name, fate) for driver, name, fate in classes]


def known_error(error: BaseException) -> KnownError:
    """The line of an exception. That of a class which is no driver's is judged by its number and class alone, not by its text."""
    kind = type(error)
    driver = _driver(kind)
    return _line(driver, kind.__name__, fate_of_stranger(error) if driver == STRANGER else fate_of(error))


def _driver(kind: type[BaseException]) -> str:
    if kind.__name__ == PANIC:
        return "deltalake"
    root = kind.__module__.partition(".")[0]
    return "python" if root in {"builtins", "socket"} else _DRIVER_OF_MODULE.get(root, STRANGER)


def _line(driver: str, name: str, fate: Fate, words: str = "") -> KnownError:
    reason = f"{words}: {_SENTENCES[fate]}" if words else _SENTENCES[fate]
    if fate in _BROKEN:
        return KnownError(driver, name, ErrorClass.PERMANENT, _BROKEN[fate][0], reason, retried=False, then=_STOPPED)
    code, kind, _ = _UNAVAILABLE[fate]
    return KnownError(driver, name, CLASS_OF_KIND[kind], code, reason, retried=True, then=_RETRIED)
