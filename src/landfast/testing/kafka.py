"""Brokers for tests and demos: a real Apache Kafka in one JVM, and librdkafka's embedded mock.

`python -m landfast.testing.kafka` starts a real one, prints its address and runs until it is interrupted.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import os
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from landfast.errors import Unavailable, check
from landfast.testing.cache import cache_folder
from landfast.testing.inflicted import INFLICTED
from landfast.testing.kafka_jars import jars
from landfast.testing.kafka_properties import BROKER, logins
from landfast.testing.kafka_tls import Certificate, make_certificate
from landfast.testing.local_ports import HOST, answers, free_ports, listens

SHORT_LIVED = ("-XX:TieredStopAtLevel=1",)
"""Options of Java for a broker that lives for minutes: the better compiler would not pay, it took two fifths of all processor time."""

_PORT_COUNT = 5
_START_ATTEMPTS = 3

_LOGGING = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
logger.groups.name = org.apache.kafka.coordinator.group
logger.groups.level = info
"""

# What the coordinator says when a group has been shared out anew: in the classic protocol, and in the newer one.
_REBALANCES = ("Stabilized group", "Computed a new target assignment")

# Ends the broker and removes its folder when the process that owns the pipe is gone, however it went.
_WATCH = """\
pid=
while read -r line; do pid=$line; done
[ -n "$pid" ] && kill -9 "$pid" 2>/dev/null
for attempt in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf -- "$1" 2>/dev/null
    [ -e "$1" ] || exit 0
    sleep 0.1
done
"""


class RealKafka:
    """One Apache Kafka broker (KRaft) on 127.0.0.1, its data in a folder of its own that goes when it closes.

    `users` (name to password) adds two listeners: `sasl_servers`, whose users may do only what ACLs allow, and `tls_servers`, which
    shows `certificate`. `front_port` adds one for clients that come through a line (`tcp_proxy`) which is open at that port and leads to
    `line_port`. Clients of all but `sasl_servers` may do everything. `properties` are added to the broker's own, and `java_options` to
    those of its Java. Nothing is left behind, also where the owning process is killed.

    Raises:
        Unavailable: Java or Maven is missing, or the broker did not start in time.
    """

    def __init__(
        self,
        *,
        properties: Mapping[str, str] | None = None,
        users: Mapping[str, str] | None = None,
        front_port: int = 0,
        cache: Path | None = None,
        heap_megabytes: int = 768,
        java_options: Sequence[str] = (),
        start_seconds_max: float = 90.0,
    ) -> None:
        self._properties = dict(properties or {})
        self._users = dict(users or {})
        self._front_port = front_port
        self._cache = cache or cache_folder("kafka")
        self._heap_megabytes = heap_megabytes
        self._java_options = tuple(java_options)
        self._start_seconds_max = start_seconds_max
        self._folder: Path | None = None
        self._watch: subprocess.Popen[str] | None = None
        self._broker: subprocess.Popen[bytes] | None = None
        self._ports: tuple[int, ...] = (0,) * _PORT_COUNT
        self._certificate: Certificate | None = None

    @property
    def servers(self) -> str:
        """The bootstrap address without authentication."""
        return f"{HOST}:{self._ports[0]}"

    @property
    def sasl_servers(self) -> str:
        """The bootstrap address for the users: SASL_PLAINTEXT with PLAIN, with SCRAM for users that were added, and with OAUTHBEARER.

        A token is not signed; it names any user as its principal, and must carry `BEARER_SCOPE`.
        """
        return f"{HOST}:{self._ports[2]}"

    @property
    def tls_servers(self) -> str:
        """The bootstrap address with TLS."""
        return f"{HOST}:{self._ports[3]}"

    @property
    def line_servers(self) -> str:
        """The bootstrap address for whoever comes through the line."""
        return f"{HOST}:{self._front_port}"

    @property
    def line_port(self) -> int:
        """Where the line leads to."""
        return self._ports[4]

    @property
    def certificate(self) -> Certificate:
        """What `tls_servers` shows."""
        if self._certificate is None:
            raise Unavailable("SOURCE_DOWN", "the test broker has no TLS: open it with users")
        return self._certificate

    @property
    def pid(self) -> int:
        """The process id of the running broker."""
        return self._running().pid

    @property
    def folder(self) -> Path:
        """Where the broker keeps its data, settings and log."""
        if self._folder is None:
            raise Unavailable("SOURCE_DOWN", "the test broker was not opened")
        return self._folder

    @property
    def log(self) -> str:
        """What the broker printed."""
        path = self.folder / "broker.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def rebalances(self) -> int:
        """How often a group was shared out anew."""
        return sum(map(self.log.count, _REBALANCES))

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def open(self) -> None:
        """Format a new folder and start the broker; returns when it answers."""
        check(self._folder is None, "the broker is open already")
        folder = Path(tempfile.mkdtemp(prefix="landfast-kafka-"))
        self._folder = folder
        self._watch = subprocess.Popen(
            ["/bin/sh", "-c", _WATCH, "landfast-kafka-watch", str(folder)], stdin=subprocess.PIPE, start_new_session=True, text=True
        )
        try:
            self._open(folder)
        except BaseException:
            self.close()
            raise

    def _open(self, folder: Path) -> None:
        (folder / "logging.properties").write_text(_LOGGING)
        self._certificate = make_certificate(folder) if self._users else None
        for attempt in range(1, _START_ATTEMPTS + 1):
            self._ports = free_ports(_PORT_COUNT)
            self._write_properties(folder)
            if attempt == 1:
                self._format(folder)
            try:
                self.start()
            except Unavailable:
                # Another process may have taken a port between our look and the broker's bind.
                if attempt == _START_ATTEMPTS or "Address already in use" not in self.log:
                    raise
            else:
                return

    def start(self) -> None:
        """Start the broker again on the same data and ports; returns when it answers."""
        check(self._broker is None, "the broker is running already")
        folder = self.folder
        with (folder / "broker.log").open("ab") as log:
            self._broker = subprocess.Popen(
                [*self._java(folder, *self._java_options), "kafka.Kafka", f"{folder}/server.properties"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._tell_watch(str(self._broker.pid))
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL: the broker gets no chance to write anything. Its data stays."""
        self._end(signal.SIGKILL)

    def stop(self, wait_seconds_max: float = 30.0) -> None:
        """SIGTERM and wait for a clean end. Its data stays."""
        self._end(signal.SIGTERM, wait_seconds_max)

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def throttle(self, client_id: str, bytes_per_second: int) -> None:
        """From now on whoever reads under this client id gets so much, and waits for more."""
        quota = f"consumer_byte_rate={bytes_per_second}"
        words = (
            "--bootstrap-server",
            self.servers,
            "--alter",
            "--add-config",
            quota,
            "--entity-type",
            "clients",
            "--entity-name",
            client_id,
        )
        self._tool(self.folder, "kafka.admin.ConfigCommand", *words)

    def restore(self) -> None:
        """Bring it back on its data and ports, whatever was done to it: killed, stopped or paused."""
        if self._broker is None:
            self.start()
        else:
            self.resume()

    def close(self) -> None:
        """End the broker and remove its folder. Idempotent."""
        if self._broker is not None:
            self.kill()
        if self._folder is not None:
            INFLICTED.add("rebalances", self.rebalances)
        if self._watch is not None:
            watch, self._watch = self._watch, None
            if watch.stdin is not None:
                watch.stdin.close()
            watch.wait(timeout=30)
        self._folder = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._broker is None:
            raise Unavailable("SOURCE_DOWN", "the test broker is not running")
        return self._broker

    def _end(self, how: signal.Signals, wait_seconds_max: float = 30.0) -> None:
        broker = self._running()
        broker.send_signal(how)
        try:
            broker.wait(wait_seconds_max)
        except subprocess.TimeoutExpired:
            broker.kill()
            broker.wait()
        self._broker = None
        self._tell_watch("")

    def _tell_watch(self, line: str) -> None:
        if self._watch is not None and self._watch.stdin is not None:
            self._watch.stdin.write(line + "\n")
            self._watch.stdin.flush()

    def _java(self, folder: Path, *options: str) -> list[str]:
        return [
            "java",
            *options,
            f"-Xmx{self._heap_megabytes}m",
            "-XX:+UseSerialGC",
            f"-Dlog4j2.configurationFile={folder}/logging.properties",
            "-cp",
            f"{jars(self._cache)}/*",
        ]

    def _format(self, folder: Path) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # The storage tool takes a leading dash for an option.
        cluster = cluster if not cluster.startswith("-") else f"A{cluster[1:]}"
        self._tool(folder, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", f"{folder}/server.properties")

    def _tool(self, folder: Path, *words: str) -> None:
        command = [*self._java(folder, *SHORT_LIVED), *words]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=self._start_seconds_max)
        if done.returncode != 0:
            raise Unavailable("SOURCE_DOWN", f"{words[0]} failed: {(done.stdout + done.stderr).strip()[-1000:]}")

    def _write_properties(self, folder: Path) -> None:
        port, controller_port, sasl_port, tls_port, line_port = self._ports
        listeners = {"PLAINTEXT": port, "CONTROLLER": controller_port}
        settings = {
            **BROKER,
            "controller.quorum.voters": f"1@{HOST}:{controller_port}",
            "log.dirs": f"{folder}/data",
        }
        if self._users:
            listeners |= {"SASL_PLAINTEXT": sasl_port, "SSL": tls_port}
            settings |= {**logins(self._users), **self.certificate.properties("ssl")}
        advertised = dict(listeners)
        if self._front_port:
            listeners["LINE"], advertised["LINE"] = line_port, self._front_port
        settings["listeners"] = ",".join(f"{name}://{HOST}:{number}" for name, number in listeners.items())
        settings["advertised.listeners"] = ",".join(
            f"{name}://{HOST}:{number}" for name, number in advertised.items() if name != "CONTROLLER"
        )
        settings |= self._properties
        (folder / "server.properties").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self._start_seconds_max
        while time.monotonic() < deadline:
            if self._running().poll() is not None:
                raise Unavailable("SOURCE_DOWN", f"the test broker ended by itself: {self.log[-2000:]}")
            if listens(self._ports[0]) and answers(self.servers):
                return
            time.sleep(0.05)
        raise Unavailable("SOURCE_DOWN", f"the test broker did not answer within {self._start_seconds_max:g} s: {self.log[-2000:]}")


class EmbeddedKafka:
    """librdkafka's mock cluster inside this process: no JVM, ready at once, for demos and quick tests.

    Topics come into being by asking for one of them or by producing to it; who asks for all does not find it before. It has no topic ids
    and no admin requests, keeps about 5 MB of each partition and drops what is older, and checks less than a broker does: what the
    guarantee rests on is tested against `RealKafka`.
    """

    def __init__(self, brokers: int = 1) -> None:
        self._brokers = brokers
        self._client: Any = None
        self.servers = ""

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def open(self) -> None:
        """Start the brokers and learn their addresses."""
        from confluent_kafka import Producer

        self._client = Producer({"test.mock.num.brokers": self._brokers, "log_level": 0})
        found = self._client.list_topics(timeout=10).brokers.values()
        self.servers = ",".join(f"{broker.host}:{broker.port}" for broker in found)

    def create_topics(self, names: Iterable[str]) -> None:
        """Have these topics, with the four partitions that each one gets here."""
        for name in names:
            self._client.list_topics(name, timeout=10)

    def close(self) -> None:
        """End the brokers; what they held is gone. Idempotent."""
        self._client = None


def main() -> None:
    """Start a real broker, print its address, wait until interrupted, and leave nothing behind."""
    parser = argparse.ArgumentParser(prog="python -m landfast.testing.kafka", description=main.__doc__)
    parser.add_argument("--cache", type=Path, default=cache_folder("kafka"), help="where the jars are kept")
    parser.add_argument("--property", action="append", default=[], metavar="NAME=VALUE", help="a broker property; repeatable")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        contextlib.suppress(KeyboardInterrupt),
        RealKafka(cache=given.cache, properties=dict(pair.split("=", 1) for pair in given.property)) as kafka,
    ):
        print(kafka.servers, flush=True)  # noqa: T201 — the address is this command's output
        signal.pause()


if __name__ == "__main__":
    main()
