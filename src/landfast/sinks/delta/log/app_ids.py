"""The application ids under which tables keep numbers of ours as transaction versions, one for each purpose."""

from __future__ import annotations

import hashlib

from landfast.model import Stream

COMPACTOR = "landfast/compactor"
"""Its transaction is the mutex between compactors of a table."""
ROLLED_UP = "landfast/spans"
"""Its transaction version in a spans table is the version of the data table up to which spans are rolled up."""


def position_app_id(pipeline_id: str, stream: Stream) -> str:
    """The application id whose transaction version is the stream's position."""
    return _stream_app_id(pipeline_id, stream)


def owner_app_id(pipeline_id: str, stream: Stream) -> str:
    """The application id whose transaction version counts the take-overs of a stream."""
    return _stream_app_id(pipeline_id, stream) + "/owner"


def fence_app_id(pipeline_id: str, stream: Stream) -> str:
    """The application id whose transaction version, in a table of dead letters, is a stream's fence."""
    return _stream_app_id(pipeline_id, stream) + "/letters"


def replays_app_id(pipeline_id: str) -> str:
    """The application id whose transaction version, in a table with one row per key, is the version that the newest replay has made."""
    return f"landfast/{pipeline_id}/replays"


def turn_app_id(pipeline_id: str) -> str:
    """The application id whose transaction version, in a table with one row per key, tells which worker would like to come first."""
    return f"landfast/{pipeline_id}/turn"


def digest_app_id(app_id: str) -> str:
    """The application id beside that of a person's own writer, whose transaction version tells the rows of its newest write."""
    return f"landfast/write/{app_id}/digest"


def _stream_app_id(pipeline_id: str, stream: Stream) -> str:
    return f"landfast/{pipeline_id}/{stream.topic}/{stream.incarnation}/{stream.partition}"


def incarnation_app_id(pipeline_id: str, stream: Stream) -> str:
    """The application id that remembers which incarnation of a topic a partition's rows come from."""
    return f"landfast/{pipeline_id}/{stream.topic}/{stream.partition}/incarnation"


def incarnation_number(incarnation: str) -> int:
    """An incarnation as a transaction version: 63 bits of a digest."""
    return int.from_bytes(hashlib.sha256(incarnation.encode()).digest()[:8]) >> 1
