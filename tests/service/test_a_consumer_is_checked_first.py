from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from landfast import Consumer, DeadLetterTopic, Misconfigured, Unavailable
from landfast.events import RetryScheduled
from landfast.testing.memory import RecordingObserver
from tests.service.service_world import Records

NOBODY = "127.0.0.1:1"


def consumer(handler: Callable[[Records], object] = len, **changes: Any) -> Consumer[Any]:
    """A consumer that nobody has connected."""
    given: dict[str, Any] = {"topics": "orders", "servers": NOBODY, "group": "billing", **changes}
    return Consumer(given.pop("topics"), handler, **given)


async def coroutine(_records: Records) -> None:
    """Returns at once."""


async def async_generator(_records: Records) -> Any:
    """Returns at once."""
    yield


def generator(_records: Records) -> Any:
    """Returns at once."""
    yield


class Asynchronous:
    """An object whose call returns at once."""

    async def __call__(self, _records: Records) -> None:
        """Return at once."""


@pytest.mark.parametrize("handler", [coroutine, async_generator, generator, Asynchronous(), functools.partial(coroutine)])
def test_an_asynchronous_handler_is_refused_before_anything_is_read(handler: Callable[[Records], object]) -> None:
    """It would return before anything was handled, and the offsets would pass what is still on its way."""
    with pytest.raises(Misconfigured, match=r"asynchronous or a generator.*asyncio\.run"):
        consumer(handler)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"handler": 3}, "cannot be called"),
        ({"batch": 0}, "batch.rows"),
        ({"topics": ()}, "source.topics"),
        ({"topics": "no topic"}, "is not a topic name"),
        ({"servers": "x y"}, "source.servers"),
        ({"group": ""}, "source.group"),
        ({"settings": {"sink": {"path": "x"}}}, "no such section: sink"),
        ({"settings": {"batch": {"rows": 5}}}, "batch.rows is given twice"),
        ({"settings": {"source": {"servers": NOBODY}}}, "source.servers is given twice"),
        ({"settings": {"source": {"start": "latest"}}}, "cannot be latest"),
        ({"settings": {"source": {"options": {"enable.auto.commit": "true"}}}}, "run ahead"),
        ({"settings": {"engine": {"shutdown_second": 1}}}, "did you mean shutdown_seconds"),
        ({"settings": {"retry": {"transient": {"attempts": 0}}}}, "attempts"),
        ({"settings": {"retry": {"later": {"delays_seconds": [60]}}}}, "tries no record again later"),
        ({"dead_letters": "orders"}, "one of the topics"),
        ({"dead_letters": DeadLetterTopic("dead", calls_max=-1)}, "calls_max"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_is_refused_before_anything_is_read(changes: dict[str, Any], words: str) -> None:
    """Each fault says what it is and how it is written."""
    with pytest.raises(Misconfigured) as caught:
        consumer(**changes).run()
    assert words in str(caught.value)


def test_nobody_answers_within_the_time() -> None:
    """The brokers are waited for as long as the settings say, then the caller hears of it."""
    waiting = consumer(settings={"source": {"request_seconds_max": 0.2}, "engine": {"open_wait_seconds": 0.3}})
    with pytest.raises(Unavailable, match="SOURCE_DOWN"):
        waiting.run()


def test_a_stop_while_the_brokers_are_waited_for_is_a_stop() -> None:
    """Nobody answers and the service is stopped: the run ends, as a stop, with nothing done."""
    waiting = consumer(settings={"source": {"request_seconds_max": 0.2}, "engine": {"open_wait_seconds": 3600.0}})

    class Stopper(RecordingObserver):
        def notice(self, event: Any) -> None:
            super().notice(event)
            if self.of(RetryScheduled):
                waiting.stop()

    report = waiting.run(observer=Stopper())
    assert (report.outcome, report.totals.read, report.exit_code) == ("stopped", 0, 0)
