"""Settings as bytes: whatever they are, they make settings that hold together, or one error with a code."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from landfast import wiring
from landfast.config import Settings, load
from landfast.errors import Misconfigured
from landfast.sources.kafka_settings import consumer_configuration
from landfast.wiring.parts import kafka_settings
from tests.fuzz.place import scratch

_VARYING = re.compile(r"[0-9]+|'.*?'|`.*?`")
_BASE = 'name = "p"\n[source]\nservers = "h:1"\ntopics = ["t"]\n[sink]\npath = "t"\n[[routes]]\nname = "r"\ntopics = ["t"]\n'


def settings_file(data: bytes) -> str:
    """A settings file of these bytes."""
    file = _file()
    file.write_bytes(data)
    return _loaded(file, {})


def environment(data: bytes) -> str:
    """Variables of these bytes, laid over a small file."""
    pairs = (part.partition(b"=") for part in data.split(b"\x1e"))
    variables = {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
    file = _file()
    file.write_text(_BASE, encoding="utf-8")
    return _loaded(file, variables)


@cache
def _file() -> Path:
    return scratch() / "pipeline.toml"


def _loaded(file: Path, variables: Mapping[str, str]) -> str:
    try:
        settings = load(file, variables)
        return _used(settings)
    except Misconfigured as error:
        return f"{error.code} {_VARYING.sub('', error.message.replace(str(file), ''))[:80]}"


def _used(settings: Settings) -> str:
    """What every command does with settings before it connects anywhere."""
    digest = settings.digest()
    shown = json.dumps(settings.effective()) + repr(settings)
    if digest != settings.digest() or not shown:
        raise AssertionError("the digest hangs on more than the settings")
    wiring.secrets(settings)
    for route in settings.routes:
        route.takes("t")
        wiring.named(route)
        wiring.delta_settings(route)
        wiring.configured_columns(route.decode)
    consumer_configuration(kafka_settings(settings))
    return "well"
