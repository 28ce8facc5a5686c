"""How long to try again: for the pipeline, for a route, for a class of errors; what is left out comes from the next wider one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from landfast import Pipeline, wiring
from landfast.config import OwnRetrySettings, RetrySettings, from_mapping, load
from landfast.core.retry import RetryPolicy
from landfast.core.route import FlowLimits, Later
from landfast.errors import ErrorClass, Misconfigured

BODY = {"name": "n", "source": {"servers": "h:1", "topics": ["t"]}, "sink": {"path": "lake/t"}}
KEYS = ("attempts", "first_wait_seconds", "wait_seconds_max", "total_seconds")


def limits(**sections: Any) -> FlowLimits:
    """The limits of the one route of settings with these sections."""
    settings = from_mapping({**BODY, **sections})
    route = settings.routes[0]
    return wiring.flow_limits(settings.engine, route.batch, route.dead_letters, route.retry)


def test_without_a_word_every_class_is_tried_as_the_engine_says() -> None:
    """The settings that there were before mean what they meant."""
    assert limits().retry == RetryPolicy() == RetryPolicy(100, 0.1, 15.0, 300.0)
    assert limits().retry_by_class == {}
    old = limits(engine={"retry": {"attempts": 3, "first_wait_seconds": 1, "wait_seconds_max": 2, "total_seconds": 9}})
    assert (old.retry, old.retry_by_class) == (RetryPolicy(3, 1.0, 2.0, 9.0), {})


@pytest.mark.parametrize(
    ("key", "value"), [("attempts", 7), ("first_wait_seconds", 2.0), ("wait_seconds_max", 3.0), ("total_seconds", 50.0)]
)
@pytest.mark.parametrize("name", ["", *ErrorClass])
def test_each_key_of_each_section_has_its_effect(name: str, key: str, value: float) -> None:
    """On its own policy, and on nothing else."""
    found = limits(retry={name: {key: value}} if name else {key: value})
    changed = RetryPolicy(*({**dict(zip(KEYS, (100, 0.1, 15.0, 300.0), strict=True)), key: value}.values()))
    assert found.retry == (RetryPolicy() if name else changed)
    assert found.retry_by_class == ({ErrorClass(name): changed} if name else {})


def test_what_is_left_out_comes_from_the_next_wider_section() -> None:
    """A class from the route, the route from the engine."""
    engine = {"retry": {"attempts": 50, "first_wait_seconds": 0.5}}
    found = limits(engine=engine, retry={"total_seconds": 600, "auth": {"attempts": 3}, "throttled": {"first_wait_seconds": 5}})
    assert found.retry == RetryPolicy(50, 0.5, 15.0, 600.0)
    assert found.retry_by_class == {
        ErrorClass.AUTH: RetryPolicy(3, 0.5, 15.0, 600.0),
        ErrorClass.THROTTLED: RetryPolicy(50, 5.0, 15.0, 600.0),
    }


def test_an_inherited_wait_is_cut_to_the_time_there_is() -> None:
    """Whoever wants a short time need not say three numbers."""
    assert OwnRetrySettings(total_seconds=0.1).over(RetrySettings()) == RetrySettings(
        attempts=100, first_wait_seconds=0.1, wait_seconds_max=0.1, total_seconds=0.1
    )
    assert limits(retry={"wait_seconds_max": 0.05}).retry == RetryPolicy(100, 0.05, 0.05, 300.0)


def test_routes_are_as_patient_as_each_of_them_says() -> None:
    """Key by key from the section at the top; the section of a class counts as one key."""
    routes = [
        {"name": "a", "topics": ["ta"], "sink": {"path": "a"}, "retry": {"attempts": 5, "auth": {"attempts": 2}}},
        {"name": "b", "topics": ["tb"], "sink": {"path": "b"}},
    ]
    top = {"total_seconds": 60, "auth": {"total_seconds": 30}, "unknown": {"attempts": 9}}
    settings = from_mapping({"name": "n", "source": {"servers": "h:1"}, "retry": top, "routes": routes})
    first, second = (wiring.flow_limits(settings.engine, one.batch, one.dead_letters, one.retry) for one in settings.routes)
    assert first.retry == RetryPolicy(5, 0.1, 15.0, 60.0)
    assert first.retry_by_class == {ErrorClass.AUTH: RetryPolicy(2, 0.1, 15.0, 60.0), ErrorClass.UNKNOWN: RetryPolicy(9, 0.1, 15.0, 60.0)}
    assert second.retry == RetryPolicy(100, 0.1, 15.0, 60.0)
    assert second.retry_by_class[ErrorClass.AUTH] == RetryPolicy(100, 0.1, 15.0, 30.0)


def test_a_variable_reaches_into_the_section_of_a_class(tmp_path: Path) -> None:
    """Like every other setting, also below a route; and a misspelt one is refused."""
    file = tmp_path / "pipeline.toml"
    file.write_text('name = "n"\n[source]\nservers = "h:1"\n[[routes]]\nname = "a"\ntopics = ["t"]\nsink.path = "t"\n', encoding="utf-8")
    route = load(file, {"LANDFAST_RETRY__AUTH__ATTEMPTS": "3", "LANDFAST_ROUTES__0__RETRY__SCHEMA__TOTAL_SECONDS": "7"}).routes[0]
    assert (route.retry.auth.attempts, route.retry.of(ErrorClass.SCHEMA).total_seconds) == (3, 7.0)
    with pytest.raises(Misconfigured, match="did you mean auth"):
        load(file, {"LANDFAST_RETRY__AUHT__ATTEMPTS": "3"})


@pytest.mark.parametrize(
    ("retry", "words"),
    [
        ({"atempts": 1}, "retry.atempts: unknown key; did you mean attempts?"),
        ({"autH": {}}, "retry.autH: unknown key; did you mean auth?"),
        ({"disk": {}}, "retry.disk: unknown key"),
        ({"auth": {"atempts": 1}}, "retry.auth.atempts: unknown key; did you mean attempts?"),
        ({"auth": {"attempts": 0}}, "retry.auth.attempts: must be at least 1"),
        ({"auth": {"attempts": 1001}}, "retry.auth.attempts: must be at most 1000"),
        ({"attempts": 1.5}, "retry.attempts: must be a whole number"),
        ({"first_wait_seconds": 0}, "retry.first_wait_seconds: must be at least 0.001"),
        ({"wait_seconds_max": 601}, "retry.wait_seconds_max: must be at most 600"),
        ({"schema": {"total_seconds": 90_000}}, "retry.schema.total_seconds: must be at most 86400"),
        ({"unknown": "drop"}, "retry.unknown: must be a section"),
        ({"first_wait_seconds": 20}, "retry.first_wait_seconds: must not be longer than wait_seconds_max"),
        ({"wait_seconds_max": 301}, "retry.wait_seconds_max: must not be longer than total_seconds"),
        ({"data": {"first_wait_seconds": 9, "wait_seconds_max": 8}}, "retry.data.first_wait_seconds: must not be longer"),
        ({"later": {"delays_seconds": [60, 0]}}, "retry.later.delays_seconds[1]: must be at least 0.1"),
        ({"later": {"delays_seconds": [604_801]}}, "retry.later.delays_seconds[0]: must be at most 604800"),
        ({"later": {"delays_seconds": [1] * 11}}, "retry.later.delays_seconds: must have at most 10 entries"),
        ({"later": {"delays_seconds": [1], "reasons": [""]}}, "retry.later.reasons[0]: must have at least 1 characters"),
        ({"later": {"delays_seconds": [1], "waiting_records_max": 0}}, "retry.later.waiting_records_max: must be at least 1"),
        ({"later": {"delay_seconds": [1]}}, "retry.later.delay_seconds: unknown key; did you mean delays_seconds?"),
        ({"later": {"reasons": ["not_json"]}}, "retry.later.reasons: has an effect only with delays_seconds"),
        ({"later": {"waiting_records_max": 5}}, "retry.later.waiting_records_max: has an effect only with delays_seconds"),
    ],
)
def test_a_patience_that_cannot_be_is_refused(retry: dict[str, Any], words: str) -> None:
    """At its place, with the nearest known name, before anything is read."""
    with pytest.raises(Misconfigured) as caught:
        from_mapping({**BODY, "retry": retry})
    assert words in caught.value.message
    with pytest.raises(Misconfigured):
        Pipeline(source=BODY["source"], decoder={}, sink=BODY["sink"], retry=retry)  # type: ignore[arg-type] — mappings of text


def test_letters_are_tried_again_later_where_delays_are_given() -> None:
    """With the reasons that are named, or all; and only in the routes that say so."""
    top = {"later": {"delays_seconds": [60, 600.5], "reasons": ["not_json"], "waiting_records_max": 7}}
    assert limits(retry=top).later == Later(frozenset({"not_json"}), 7)
    assert limits(retry={"later": {"delays_seconds": [60]}}).later == limits().later == Later(None, 10_000)
    routes = [
        {"name": "a", "topics": ["ta"], "sink": {"path": "a"}},
        {"name": "b", "topics": ["tb"], "sink": {"path": "b"}, "retry": {"later": {}}},
    ]
    first, second = from_mapping({"name": "n", "source": {"servers": "h:1"}, "retry": top, "routes": routes}).routes
    assert (first.retry.later.delays_seconds, second.retry.later.delays_seconds) == ((60, 600.5), ())


def test_delays_of_later_attempts_are_read_from_a_variable(tmp_path: Path) -> None:
    """A list of numbers as in TOML, a list of reasons with commas."""
    file = tmp_path / "pipeline.toml"
    file.write_text('name = "n"\n[source]\nservers = "h:1"\ntopics = ["t"]\n[sink]\npath = "t"\n', encoding="utf-8")
    said = {"LANDFAST_RETRY__LATER__DELAYS_SECONDS": "[60, 600]", "LANDFAST_RETRY__LATER__REASONS": "not_json,no_key"}
    later = load(file, said).routes[0].retry.later
    assert (later.delays_seconds, later.reasons) == ((60, 600), ("not_json", "no_key"))


def test_letters_of_a_table_with_one_row_per_key_may_be_tried_again_later() -> None:
    """An older record never comes over a newer one there, whenever it lands."""
    sink = {"path": "lake/t", "mode": "upsert", "key": ["id"]}
    settings = from_mapping({**BODY, "sink": sink, "retry": {"later": {"delays_seconds": [60]}}})
    assert settings.routes[0].retry.later.delays_seconds == (60,)


def test_parts_that_are_objects_try_nothing_again_later() -> None:
    """Said at once, rather than ignored."""
    parts: Any = object()
    with pytest.raises(Misconfigured, match="nothing is tried again later"):
        Pipeline(source=parts, decoder=parts, sink=parts, dead_letters=parts, retry={"later": {"delays_seconds": [60]}})
