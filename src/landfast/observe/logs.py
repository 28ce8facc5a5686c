"""Events as log lines: plain and structured for people, JSON for machines. No value, no secret, no control character gets through."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO
from urllib.parse import quote

import structlog

from landfast import events
from landfast.codes import CODES
from landfast.model import Halt, Receipt, Stream, Totals
from landfast.observe.fanout import FREQUENT
from landfast.ports import Clock

MASK = "***"
SECRET_LENGTH_MIN = 4
"""A secret shorter than this is not looked for in texts: it would garble every line, and so show itself."""

TEXT_LENGTH_MAX = 4_000
"""Characters of one field; what is longer is cut, and says so."""

_SECRET_NAME = re.compile(r"(?i)password|passwd|passphrase|secret|token|api[_.\-]?key|access[_.\-]?key|credentials?")
# Not after CONFIG_, which would take the words behind our own code for a secret, and not before a word with which a sentence of ours goes
# on after a place: `source.options.sasl.password: the environment has …`. Every repetition is bounded or cannot backtrack far.
_NAMED_SECRET = re.compile(
    r"""(?ix) (?<! CONFIG_ ) ( (?: password | passwd | passphrase | secret | token | api[_.\-]?key | access[_.\-]?key | credentials? )
        [\w.\-]{0,40} ["']? \s{0,4} [=:] \s{0,4} )
        (?! (?<=:[ ]) (?: an? | cannot | expected | is | landfast | must | nested | the | there | unexpected | unknown ) [ ][a-z'] )
        ( "[^"]*" | '[^']*' | [^\s,;&"'}]+ )"""
)
_URL_SECRET = re.compile(r"(?i)([a-z][a-z0-9+.\-]{0,20}://[^\s:/@]*):[^\s/@]+@")
_BEARER_SECRET = re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9+/_.=\-]{8,}")
_WORD = re.compile(r"[A-Z][a-z0-9]*")


class Redactor:
    """Takes secrets out of texts: the known ones wherever they stand, also percent- or JSON-encoded, and whatever looks like one."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets if len(secret) >= SECRET_LENGTH_MIN for form in _forms(secret)}
        self._known = re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))) if forms else None

    def __call__(self, text: str) -> str:
        """The text with every secret masked. Takes time in proportion to its length."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        text = _URL_SECRET.sub(rf"\1:{MASK}@", text)
        text = _BEARER_SECRET.sub(rf"\1 {MASK}", text)
        return _NAMED_SECRET.sub(rf"\1{MASK}", text)

    def clean(self, value: object) -> object:
        """The same for every text inside a value that is to become JSON: masking rendered JSON could break it."""
        return _clean(value, self)

    def __repr__(self) -> str:
        return "Redactor(***)"


def _forms(secret: str) -> set[str]:
    return {secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1]}


def escaped(text: str) -> str:
    """The text on one line: every character that is not printable (control, line or paragraph separator, direction) as an escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char) or char.encode("unicode_escape", "backslashreplace").decode("ascii")


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """One log line: its level (debug, info, warning or error), the name of what happened, and its fields in order."""

    level: str
    name: str
    fields: Mapping[str, Any]


def line(event: events.Event) -> Line:
    """The log line of an event."""
    name = "_".join(word.lower() for word in _WORD.findall(type(event).__name__))
    fields: dict[str, Any] = {}
    for item in dataclasses.fields(event):
        fields |= _flat(item.name, getattr(event, item.name))
    if not fields["flow"]:
        del fields["flow"]
    if isinstance(event, events.OutcomeResolved) and event.landed:
        fields["code"] = "COMMIT_WAS_OURS"
    code = str(fields.get("code"))
    if code in CODES and "next_step" not in fields and _level(event) in {"warning", "error"}:
        fields["next_step"] = CODES[code].next_step
    return Line(_level(event), name, fields)


def _level(event: events.Event) -> str:
    match event:
        case events.LaneHalted():
            return "error"
        case events.ConflictMet() | events.RetryScheduled() | events.OutcomeResolved():
            return "warning"
        case events.Notice():
            return event.severity if event.severity in {"debug", "info", "warning", "error"} else "info"
        case _ if isinstance(event, FREQUENT):
            return "debug"
        case _:
            return "info"


def _flat(name: str, value: object) -> dict[str, Any]:
    match value:
        case Stream():
            return {"topic": value.topic, "partition": value.partition}
        case Halt():
            return {"code": value.code, "message": value.message, "next_step": value.next_step}
        case Totals():
            return {"read": value.read, "written": value.written, "dead": value.dead, "skipped": dict(value.skipped)}
        case Receipt():
            return _of_receipt(value)
        case tuple() if name == "spans":
            return {"spans": [f"{span.stream} [{span.start}, {span.end})" for span in value]}
        case tuple():
            return {name: dict(value)}
        case float():
            return {name: round(value, 6)}
        case _:
            return {name: value}


def _of_receipt(receipt: Receipt) -> dict[str, Any]:
    totals = Totals()
    for span in receipt.spans:
        totals = totals.plus(span)
    return {
        "version": receipt.version,
        "sequence": receipt.sequence,
        "already": receipt.already,
        "seconds": round(receipt.seconds, 6),
        **_flat("totals", totals),
        "files": receipt.files,
        "nbytes": receipt.nbytes,
        **_flat("spans", receipt.spans),
    }


Processor = Callable[[Any, str, MutableMapping[str, Any]], Any]


def logger(stream: TextIO, *, as_json: bool, redact: Redactor, clock: Clock, level: str = "info") -> Any:
    """A structlog logger that writes to `stream`, with no global configuration. Everything it is given is redacted and escaped."""
    return structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=processors(as_json=as_json, redact=redact, clock=clock),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )


def processors(*, as_json: bool, redact: Redactor, clock: Clock) -> Sequence[Processor]:
    """What each line goes through, in order; the last one renders it."""

    def stamped(_logger: Any, method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        at = datetime.fromtimestamp(clock.now(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"at": at, "level": method, "event": fields.pop("event", ""), **fields}

    def cleaned(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return clean_fields(fields, redact)

    return (stamped, cleaned, _render_json if as_json else _render_plain)


def clean_fields(fields: Mapping[str, Any], redact: Redactor) -> dict[str, Any]:
    """The fields of a line without secrets, and none longer than `TEXT_LENGTH_MAX`."""
    return {escaped(name): _bounded(_named(name, value, redact)) for name, value in fields.items()}


def _named(name: str, value: object, redact: Redactor) -> object:
    return MASK if isinstance(value, str) and _SECRET_NAME.search(name) else _clean(value, redact)


def _clean(value: object, redact: Redactor) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case Mapping():
            return {redact(str(key)): _named(str(key), item, redact) for key, item in value.items()}
        case list() | tuple():
            return [_clean(item, redact) for item in value]
        case _:
            return redact(str(value))


def _bounded(value: object) -> object:
    """What is too long for a line, cut."""
    if isinstance(value, str) and len(value) > TEXT_LENGTH_MAX:
        return f"{value[:TEXT_LENGTH_MAX]}… ({len(value)} characters)"
    return value


def _render_json(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=True, separators=(",", ":"))


def _render_plain(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> str:
    head = f"{fields.pop('at')} {fields.pop('level'):<7} {escaped(str(fields.pop('event')))}"
    return " ".join([head, *(f"{name}={plain(value)}" for name, value in fields.items())])


def plain(value: object) -> str:
    """A field's value on one line, quoted where it would run into the next field."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case str():
            text = escaped(value)
            return text if text and not re.search(r'[\s="]', text) else json.dumps(text, ensure_ascii=False)
        case dict():
            return "{" + ",".join(f"{plain(key)}:{plain(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ",".join(plain(item) for item in value) + "]"
        case _:
            return str(value)


class LogObserver:
    """Writes each event as one line. May block on its stream: put it behind a `Queued`."""

    def __init__(self, log: Any) -> None:
        self._log = log

    def notice(self, event: events.Event) -> None:
        """Write the event's line."""
        written = line(event)
        getattr(self._log, written.level)(written.name, **written.fields)
