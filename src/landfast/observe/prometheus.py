"""The metrics of a run for Prometheus, and the little web server that shows them beside `/health` and `/ready`."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from landfast.errors import Misconfigured
from landfast.observe.health import health
from landfast.observe.metrics import METRICS, Metric
from landfast.observe.state import SECONDS_BOUNDS, Distribution, State

if TYPE_CHECKING:
    from prometheus_client import Metric as Family

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class StateCollector(Collector):
    """Reads the metrics from a state when they are asked for: nothing is counted twice, and nothing is global."""

    def __init__(self, state: Callable[[], State]) -> None:
        self._state = state

    def collect(self) -> Iterator[Family]:
        """All families, from one state."""
        state = self._state()
        for metric in METRICS:
            yield _family(metric, state)


def _family(metric: Metric, state: State) -> Family:
    name = metric.name.removesuffix("_total")
    documentation = f"{metric.meaning} Unit: {metric.unit}."
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(name, documentation, labels=metric.labels)
        for labels, value in metric.read(state):
            if isinstance(value, Distribution):
                histogram.add_metric(labels, _buckets(value), value.seconds)
        return histogram
    family = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    made: CounterMetricFamily | GaugeMetricFamily = family(name, documentation, labels=metric.labels)
    for labels, value in metric.read(state):
        if not isinstance(value, Distribution):
            made.add_metric(labels, value)
    return made


def _buckets(distribution: Distribution) -> list[tuple[str, float]]:
    bounds = [*(str(bound) for bound in SECONDS_BOUNDS), "+Inf"]
    return list(zip(bounds, accumulate(distribution.counts), strict=True))


def exposition(state: Callable[[], State]) -> bytes:
    """The text that `/metrics` answers."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StateCollector(state))
    return generate_latest(registry)


class MetricsServer:
    """Serves `/metrics`, `/health` and `/ready` in a thread of its own. Port 0 takes a free one; `port` says which."""

    def __init__(
        self,
        state: Callable[[], State],
        *,
        port: int,
        host: str = "127.0.0.1",
        requests_max: int = 8,
    ) -> None:
        """Listen at once.

        Raises:
            Misconfigured: the address cannot be listened on.
        """
        try:
            self._server = _Server(host, port, _Answers(state), requests_max)
        except OSError as error:
            message = f"cannot listen on {host}:{port}: {error.strerror or error}"
            raise Misconfigured(
                "PORT_TAKEN", message, next_step="Choose another port with --metrics, or end what uses this one."
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="landfast-metrics", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port listened on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop listening. Idempotent."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Answers:
    """What each path answers: status, content type, body."""

    def __init__(self, state: Callable[[], State]) -> None:
        self._state = state

    def to(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        if path == "/metrics":
            return HTTPStatus.OK, CONTENT_TYPE, exposition(self._state)
        if path in {"/health", "/ready"}:
            now = health(self._state())
            well = now.alive if path == "/health" else now.ready
            return HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE, "application/json", _json(now.to_json())
        return HTTPStatus.NOT_FOUND, "application/json", _json({"paths": ["/metrics", "/health", "/ready"]})


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode() + b"\n"


class _Server(ThreadingHTTPServer):
    """At most `requests_max` requests at once: more are refused by closing their connection, so that a flood costs no memory."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int, answers: _Answers, requests_max: int) -> None:
        self.answers = answers
        self._free = threading.BoundedSemaphore(requests_max)
        super().__init__((host, port), _Request)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in mid answer is no news."""


class _Request(BaseHTTPRequestHandler):
    timeout = 5.0
    server: _Server
    server_version = "landfast"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        status, content_type, body = self.server.answers.to(self.path.partition("?")[0])
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 — the signature of http.server
        """Requests are not logged: a scrape every few seconds is no news."""
