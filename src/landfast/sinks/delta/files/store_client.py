"""A client for the files of an object store, made from the same options as deltalake takes.

deltalake's own file client holds the interpreter's lock while it waits for the store, which stops every other thread of the process, the
one that polls Kafka among them. This one lets go of it.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

from obstore.exceptions import UnknownConfigurationKeyError
from obstore.store import ObjectStore, from_url

from landfast.errors import Misconfigured
from landfast.sinks.delta.errors import is_foreign

_PREFIXES = ("aws_", "azure_", "google_")
_OF_CONNECTIONS = frozenset(
    {
        "allow_http",
        "allow_invalid_certificates",
        "connect_timeout",
        "default_content_type",
        "http1_only",
        "http2_keep_alive_interval",
        "http2_keep_alive_timeout",
        "http2_keep_alive_while_idle",
        "http2_max_frame_size",
        "http2_only",
        "pool_idle_timeout",
        "pool_max_idle_per_host",
        "proxy_ca_certificate",
        "proxy_excludes",
        "proxy_url",
        "randomize_addresses",
        "read_timeout",
        "timeout",
        "user_agent",
    }
)
_OF_RETRIES = frozenset({"max_retries", "retry_timeout"})
_OF_WAITS = frozenset({"init_backoff", "max_backoff", "base"})
_WAIT = re.compile(r"(?:backoff_config\.|backoff\.)?(init_backoff|max_backoff|base)")
_ONLY_OF_DELTALAKE = frozenset(
    {"multi_threaded", "worker_threads", "thread_name", "enable_io", "enable_time", "object_store_concurrency_limit"}
)
"""How deltalake runs, and nothing about how the store is reached."""

_SECONDS = {
    **dict.fromkeys(("ms", "msec"), 0.001),
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
}
_DURATION = re.compile(r"(\d+)\s*([a-z]+)")


def open_store(uri: str, storage_options: Mapping[str, str]) -> ObjectStore:
    """A client for what lies below the URI. Options that are not given come from the environment, as they do for deltalake.

    Raises:
        Misconfigured: an option has no meaning to this client, or the options do not make a whole. No value of an option is shown.
    """
    config: dict[str, str] = {}
    connections: dict[str, str] = {}
    retries: dict[str, Any] = {}
    waits: dict[str, Any] = {}
    for name, value in storage_options.items():
        key = name.lower()
        bare = next((key.removeprefix(prefix) for prefix in _PREFIXES if key.startswith(prefix)), key)
        wait = _WAIT.fullmatch(key)
        if bare in _OF_CONNECTIONS:
            connections[bare] = value
        elif wait is not None:
            waits[wait[1]] = _number(name, value) if wait[1] == "base" else _duration(name, value)
        elif key in _OF_RETRIES:
            retries[key] = int(_number(name, value)) if key == "max_retries" else _duration(name, value)
        elif key not in _ONLY_OF_DELTALAKE:
            config[key] = value
    if waits:
        retries["backoff"] = waits
    return _made(uri, config, connections, retries)


def _made(uri: str, config: dict[str, str], connections: dict[str, str], retries: dict[str, Any]) -> ObjectStore:
    options: dict[str, Any] = {"config": config or None, "client_options": connections or None, "retry_config": retries or None}
    try:
        return from_url(uri, **options)
    except BaseException as error:
        if not is_foreign(error):
            raise
        if isinstance(error, UnknownConfigurationKeyError):
            name = next((key for key in sorted(config, key=len, reverse=True) if f"'{key}'" in str(error)), "one")
            message = f"the storage option {name} has no meaning to the client that reads and writes the table's files"
            next_step = "Remove it, or correct its name. In place of a profile or a role to assume, give keys or a token file."
            raise Misconfigured("CONFIG_UNKNOWN", message, next_step=next_step) from None
        message = f"the storage options ({', '.join(sorted({**config, **connections, **retries})) or 'none'}) do not make a client"
        next_step = "Look for a name without its partner (key and secret, account and key), a wrong value, or a URI of an unknown kind."
        raise Misconfigured("CONFIG_INVALID", message, next_step=next_step) from None


def _number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise _wrong(name, "a number") from None


def _duration(name: str, value: str) -> dt.timedelta:
    parts = _DURATION.findall(value)
    if not parts or _DURATION.sub("", value).strip() or any(unit not in _SECONDS for _, unit in parts):
        raise _wrong(name, "a duration such as 500ms, 30s or 2m")
    return dt.timedelta(seconds=sum(int(count) * _SECONDS[unit] for count, unit in parts))


def _wrong(name: str, wanted: str) -> Misconfigured:
    return Misconfigured("CONFIG_INVALID", f"the storage option {name} is not {wanted}", next_step="Correct it.")
