"""A log line shows no secret, stays one line whatever a topic is called, and says what an event says."""

from __future__ import annotations

import io
import json
import secrets
from functools import partial
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landfast import events
from landfast.events import Event
from landfast.model import Halt, Receipt, Span, Stream
from landfast.observe.logs import MASK, LogObserver, Redactor, escaped, logger
from landfast.testing.clock import ManualClock
from tests.observe.event_strategies import any_event

STREAM = Stream("sensors", "id", 0)


def written(*happened: Event, as_json: bool = False, known: tuple[str, ...] = ()) -> list[str]:
    """The log of these events, line by line."""
    stream = io.StringIO()
    observer = LogObserver(logger(stream, as_json=as_json, redact=Redactor(known), clock=ManualClock(), level="debug"))
    for event in happened:
        observer.notice(event)
    return stream.getvalue().split("\n")[:-1]


@given(any_event)
def test_every_event_is_one_plain_line(event: Event) -> None:
    """Whatever texts an event carries, its line is one line of printable characters."""
    assert [text.isprintable() for text in written(event)] == [True]


@given(any_event)
def test_every_event_is_one_json_line(event: Event) -> None:
    """The JSON log is ASCII, one object a line, with a time, a level and the event's name."""
    (text,) = written(event, as_json=True)
    assert text.isascii()
    assert {"at", "level", "event"} <= set(json.loads(text))


@pytest.mark.parametrize("separator", ["\n", "\r", "\x1b[2J", "\x00", "\x85", "\u2028", "\u2029", "\u202e", "\ud800"])
def test_a_topic_cannot_forge_a_line(separator: str) -> None:
    """A name with control, line-separating or direction-changing characters is shown escaped, in both forms."""
    stream = Stream(f"a{separator}2026-01-01T00:00:00Z error   forged", "id", 0)
    event = events.LaneHalted("sensors", stream, 5, Halt("DATA_EXPIRED", f"x{separator}y", "n"))
    for as_json in (False, True):
        (text,) = written(event, as_json=as_json)
        assert separator not in text
        assert text.isprintable()


@given(st.text())
def test_escaping_is_printable_and_leaves_the_printable_alone(text: str) -> None:
    """Nothing is lost on names that are harmless."""
    assert escaped(text).isprintable()
    assert not text.isprintable() or escaped(text) == text


CANARY = "k3y'/\\\"+ü%" + secrets.token_hex(6)


@pytest.mark.parametrize(
    "message",
    [
        f"login with {CANARY} failed",
        f"https://store/?sig={quote(CANARY, safe='')}",
        "config " + json.dumps({"value": CANARY}),
        f"error: {CANARY!r}",
        f"{CANARY}{CANARY}",
    ],
    # The secret is another in each process, and tests that run side by side must go by the same names.
    ids=["plain", "percent-encoded", "json", "repr", "twice"],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_known_secret_never_shows(message: str, *, as_json: bool) -> None:
    """A secret of the settings is masked wherever it stands, also percent-encoded, inside JSON, or as a repr."""
    notice = events.Notice("sensors", "SINK_AUTH", message)
    halt = events.LaneHalted("sensors", STREAM, 1, Halt("SINK_AUTH", message, message))
    text = "\n".join(written(notice, halt, as_json=as_json, known=(CANARY,)))
    assert MASK in text
    assert CANARY[-12:] not in text


@pytest.mark.parametrize(
    "message",
    [
        "sasl.password=hunter2 rejected",
        "sasl.password: hunter2",
        "sasl.password: the-hunter2 rejected",
        "sasl.password: an=hunter2",
        "'ssl.key.password': 'hunter2'",
        '{"aws_secret_access_key": "hunter2"}',
        "AWS_SESSION_TOKEN=hunter2;x=1",
        "https://user:hunter2@store.example/bucket",
        "postgresql://:hunter2@host/db",
        "Authorization: Bearer hunter2hunter2hunter2",
    ],
)
def test_what_looks_like_a_secret_is_masked_without_being_known(message: str) -> None:
    """Messages of other libraries may quote credentials that the settings never named."""
    (text,) = written(events.Notice("", "SINK_AUTH", message))
    assert "hunter2" not in text


def test_an_innocent_message_is_left_alone() -> None:
    """Masking does not eat the message: places, numbers and next steps stay readable."""
    message = "offsets 5 to 9 of sensors[0] are gone; https://store.example:9000/bucket answered 503. Correct the credentials."
    assert Redactor(["abc", ""])(message) == message


@pytest.mark.parametrize(
    "message",
    [
        "source.options.sasl.password: the environment has no variable NOPE",
        "source.options.sasl.password: cannot read the file /run/secret.txt (No such file or directory)",
        "decode.columns.token: must be a text",
        "decode.columns.api_key: there is no type 'strin'; did you mean string?",
        "decode.columns.secret: expected 'null', found the end",
        "pipeline.toml: source.passwordx: unknown key; did you mean options?",
    ],
)
def test_a_place_that_is_called_like_a_secret_keeps_its_sentence(message: str) -> None:
    """What our own errors say after such a place is no secret; masking a word of it would leave a riddle."""
    assert Redactor()(message) == message


def test_a_redactor_does_not_show_its_secrets() -> None:
    """Nor does its own repr."""
    assert CANARY not in repr(Redactor([CANARY]))


def test_a_halt_is_an_error_with_its_place_and_next_step() -> None:
    """The one line an operator must not miss has everything that is needed to act."""
    (text,) = written(events.LaneHalted("sensors", STREAM, 5, Halt("DATA_EXPIRED", "offsets 5 to 9 are gone", "restore")), as_json=True)
    line = json.loads(text)
    where = {"topic": "sensors", "partition": 0, "position": 5}
    what = {"level": "error", "event": "lane_halted", "code": "DATA_EXPIRED", "message": "offsets 5 to 9 are gone", "next_step": "restore"}
    assert {name: line[name] for name in where | what} == where | what


def test_a_landing_shows_its_equation_and_ranges() -> None:
    """A commit can be found again from its log line: version, counts and exact ranges."""
    span = Span(STREAM, 5, 12, 6, 4, 1, {"tombstone": 1}, "d")
    (text,) = written(events.BatchLanded("sensors", Receipt((span,), 4, 1, 900, 7, 3, already=False, seconds=0.0251), 2))
    for part in (
        "batch_landed",
        "flow=sensors",
        "version=7",
        "read=6",
        "written=4",
        "dead=1",
        "skipped={tombstone:1}",
        "sensors[0] [5, 12)",
    ):
        assert part in text


def test_a_notice_is_explained_by_its_code() -> None:
    """A warning by code brings the next step of the table of codes along."""
    (text,) = written(events.Notice("", "DISK_FULL", "no space left"))
    assert "next_step=" in text


def test_frequent_events_are_not_logged_by_default() -> None:
    """A line per poll would drown the rest."""
    stream = io.StringIO()
    observer = LogObserver(logger(stream, as_json=False, redact=Redactor(), clock=ManualClock()))
    observer.notice(events.RecordsRead("sensors", STREAM, 1, 1, 1))
    assert stream.getvalue() == ""


def test_a_secret_name_masks_its_value() -> None:
    """A field that is called like a secret is masked whatever it holds, also inside a mapping."""
    stream = io.StringIO()
    log = logger(stream, as_json=True, redact=Redactor(), clock=ManualClock())
    log.info("settings", options={"sasl.password": "hunter2", "client.id": "x"}, token="hunter2")
    line = json.loads(stream.getvalue())
    assert (line["options"], line["token"]) == ({"sasl.password": MASK, "client.id": "x"}, MASK)


def test_a_very_long_text_is_cut() -> None:
    """A message of megabytes does not fill the log."""
    notice = partial(events.Notice, "", "DISK_FULL")
    (text,) = written(notice("x" * 1_000_000))
    assert len(text) < 5_000


def test_a_text_of_any_length_is_redacted_whole_and_in_linear_time() -> None:
    """Long results pass through uncut, and a text made to slow the patterns down does not: a megabyte takes no minutes."""
    redact = Redactor([CANARY])
    for hostile in ("x" * 300_000, "password" * 40_000, "a://" * 75_000, "token='" * 40_000, "secret " * 40_000):
        assert CANARY not in redact(hostile + CANARY)
    assert redact("y z " * 100_000) == "y z " * 100_000


def test_a_value_that_becomes_json_is_cleaned_before() -> None:
    """Masking keeps JSON well formed: the texts inside are masked, names like secrets hide their texts, numbers stay."""
    value = {"password": "hunter2", "token": None, "rows": [1, 2.5, f"with {CANARY}"], "ok": True}
    assert Redactor([CANARY]).clean(value) == {"password": MASK, "token": None, "rows": [1, 2.5, f"with {MASK}"], "ok": True}


def test_our_own_code_is_not_taken_for_a_secret() -> None:
    """The code CONFIG_SECRET and its message stay readable."""
    message = "CONFIG_SECRET: the variable NAME is not set"
    assert Redactor()(message) == message
