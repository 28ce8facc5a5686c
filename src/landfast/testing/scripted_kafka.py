"""librdkafka's mock cluster with all that its C interface can do to it: brokers that end, leaders that move, answers with error codes.

It needs no JVM and is ready at once. It checks less than a broker does, has no topic ids, and keeps little: see `EmbeddedKafka`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from landfast.errors import Unavailable

FETCH, OFFSET_COMMIT, FIND_COORDINATOR, HEARTBEAT = 1, 8, 10, 12
"""Kinds of requests, by their numbers in the protocol."""

_PRODUCER = 0
_TEXT_BYTES = 512
_DESTROY_NO_CONSUMER_CLOSE = 0x8


class ScriptedKafka:
    """So many brokers inside this process, numbered from 1. Use as a context.

    Raises:
        Unavailable: the client library that comes with the driver cannot be found.
    """

    def __init__(self, brokers: int = 3) -> None:
        self._brokers = brokers
        self._library = _library()
        self._client: Any = None
        self._cluster: Any = None
        self.servers = ""

    def __enter__(self) -> Self:
        library = self._library
        text = ctypes.create_string_buffer(_TEXT_BYTES)
        settings = library.rd_kafka_conf_new()
        for name, value in (("test.mock.num.brokers", self._brokers), ("log_level", 0)):
            library.rd_kafka_conf_set(settings, name.encode(), str(value).encode(), text, _TEXT_BYTES)
        self._client = library.rd_kafka_new(_PRODUCER, settings, text, _TEXT_BYTES)
        if not self._client:
            raise Unavailable("SOURCE_DOWN", f"the scripted brokers did not start: {text.value.decode()}")
        self._cluster = library.rd_kafka_handle_mock_cluster(self._client)
        self.servers = library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        client, self._client = self._client, None
        if client is not None:
            self._library.rd_kafka_destroy_flags(client, _DESTROY_NO_CONSUMER_CLOSE)

    def create(self, topic: str, partitions: int = 1) -> None:
        """Create a topic with a replica of each partition on every broker."""
        self._done(self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, self._brokers))

    def lead(self, topic: str, partition: int, broker: int) -> None:
        """Make this broker the leader of a partition."""
        self._done(self._library.rd_kafka_mock_partition_set_leader(self._cluster, topic.encode(), partition, broker))

    def coordinate(self, group: str, broker: int) -> None:
        """Make this broker the coordinator of a group."""
        self._done(self._library.rd_kafka_mock_coordinator_set(self._cluster, b"group", group.encode(), broker))

    def end(self, broker: int) -> None:
        """A broker dies: its connections are closed and it takes no new ones."""
        self._done(self._library.rd_kafka_mock_broker_set_down(self._cluster, broker))

    def start(self, broker: int) -> None:
        """A broker comes back."""
        self._done(self._library.rd_kafka_mock_broker_set_up(self._cluster, broker))

    def slow(self, broker: int, seconds: float) -> None:
        """From now on a broker answers so much later."""
        self._done(self._library.rd_kafka_mock_broker_set_rtt(self._cluster, broker, int(seconds * 1000)))

    def answer(self, request: int, codes: Sequence[int]) -> None:
        """Answer the next requests of this kind with these error codes, one each."""
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, request, len(codes), (ctypes.c_int * len(codes))(*codes))

    def answer_well(self, request: int) -> None:
        """Forget the error codes that were meant for requests of this kind."""
        self._library.rd_kafka_mock_clear_request_errors(self._cluster, request)

    def _done(self, error: int) -> None:
        if error:
            raise Unavailable("SOURCE_DOWN", f"the scripted brokers refused it: error {error}")


def _library() -> Any:
    """The very library that the driver of this process uses."""
    import confluent_kafka

    folder = Path(confluent_kafka.__file__).parent
    found = sorted([*folder.parent.glob("confluent_kafka.libs/librdkafka*"), *folder.glob(".dylibs/librdkafka*")])
    if not found:
        raise Unavailable("SOURCE_DOWN", "the driver brings no client library of its own: install confluent-kafka from a wheel")
    library = ctypes.CDLL(str(found[0]))
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    for name, answers, takes in (
        ("conf_new", pointer, ()),
        ("conf_set", number, (pointer, text, text, pointer, ctypes.c_size_t)),
        ("new", pointer, (number, pointer, pointer, ctypes.c_size_t)),
        ("destroy_flags", None, (pointer, number)),
        ("handle_mock_cluster", pointer, (pointer,)),
        ("mock_cluster_bootstraps", text, (pointer,)),
        ("mock_group_initial_rebalance_delay_ms", None, (pointer, ctypes.c_int32)),
        ("mock_topic_create", number, (pointer, text, number, number)),
        ("mock_partition_set_leader", number, (pointer, text, ctypes.c_int32, ctypes.c_int32)),
        ("mock_coordinator_set", number, (pointer, text, text, ctypes.c_int32)),
        ("mock_broker_set_down", number, (pointer, ctypes.c_int32)),
        ("mock_broker_set_up", number, (pointer, ctypes.c_int32)),
        ("mock_broker_set_rtt", number, (pointer, ctypes.c_int32, number)),
        ("mock_clear_request_errors", None, (pointer, ctypes.c_int16)),
        ("mock_push_request_errors_array", None, (pointer, ctypes.c_int16, ctypes.c_size_t, pointer)),
    ):
        function = getattr(library, f"rd_kafka_{name}")
        function.restype, function.argtypes = answers, takes
    return library
