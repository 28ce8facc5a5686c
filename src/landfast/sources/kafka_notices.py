"""What the Kafka client has to say, put before the operator at a bearable rate and without a secret."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Mapping

from landfast.events import Notice
from landfast.ports import Clock, Observer

_SECRET_NAME = re.compile(r"password|secret|passphrase|\.pem$|oauthbearer\.config|token", re.IGNORECASE)
_SECRET_LENGTH_MIN = 3
MASK = "***"


class Notices:
    """Notices, each kind no more often than every `seconds`. Called from any thread; never raises, never blocks."""

    def __init__(self, observer: Observer, clock: Clock, seconds: float, options: Mapping[str, str]) -> None:
        self._observer = observer
        self._clock = clock
        self._seconds = seconds
        self._secrets = sorted((value for name, value in options.items() if _is_secret(name, value)), key=len, reverse=True)
        self._said: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def say(self, code: str, message: str, *, about: str = "", severity: str = "warning") -> None:
        """Tell the operator, unless the same code was told about the same thing a moment ago."""
        now = self._clock.monotonic()
        with self._lock:
            last = self._said.get((code, about))
            if last is not None and now - last < self._seconds:
                return
            if len(self._said) > 10_000:  # noqa: PLR2004 — a bound on memory that is never met in earnest
                self._said.clear()
            self._said[code, about] = now
        self._observer.notice(Notice("", code, self.redacted(message), severity))

    def redacted(self, text: str) -> str:
        """The text without any secret of the options."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def logger(self) -> logging.Logger:
        """A logger for the driver: its warnings become notices, and nothing is written to stderr."""
        logger = logging.Logger("landfast.kafka", logging.WARNING)  # noqa: LOG001 — not shared through the registry on purpose
        logger.addHandler(_Forward(self))
        return logger


class _Forward(logging.Handler):
    def __init__(self, notices: Notices) -> None:
        super().__init__(logging.WARNING)
        self._notices = notices

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        # `FAIL [rdkafka#consumer-1] ...`: the first word is librdkafka's name for the kind of message.
        kind = text.split(" ", 1)[0]
        # What is fatal comes as an error besides, which ends the run or is waited out: told once, as what it is.
        if kind != "FATAL":
            self._notices.say("KAFKA_CLIENT", text, about=kind)


def _is_secret(name: str, value: str) -> bool:
    return len(value) >= _SECRET_LENGTH_MIN and _SECRET_NAME.search(name) is not None
