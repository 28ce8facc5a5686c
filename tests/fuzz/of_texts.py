"""Texts of others in our own lines: one line each, printable, and without the secret."""

from __future__ import annotations

import io
import json

from landfast.events import Notice
from landfast.observe.logs import LogObserver, Redactor, logger
from landfast.testing.clock import ManualClock

SECRET = "canary-%/'\"\\é-5f1c"
_REDACT = Redactor((SECRET,))


def log_line(data: bytes) -> str:
    """A text that a driver might say; `CANARY` in it stands for a secret of the settings."""
    text = data.decode("utf-8", "surrogateescape").replace("CANARY", SECRET)
    shapes = []
    for as_json in (False, True):
        out = io.StringIO()
        log = LogObserver(logger(out, as_json=as_json, redact=_REDACT, clock=ManualClock(), level="debug"))
        log.notice(Notice("", "KAFKA_CLIENT", text))
        line = out.getvalue()
        if line.count("\n") != 1 or not line[:-1].isprintable():
            raise AssertionError("more than one line, or not printable")
        if SECRET in line or "5f1c" in line or (as_json and SECRET in str(json.loads(line))):
            raise AssertionError("the secret shows")
        shapes.append(line.count("***"))
    return " ".join(map(str, shapes))
