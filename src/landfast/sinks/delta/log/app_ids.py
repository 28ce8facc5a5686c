"""The application ids under which a table keeps numbers of ours as transaction versions, one for each purpose."""

from __future__ import annotations

import hashlib

from landfast.model import Stream


def app_id(pipeline_id: str, stream: Stream) -> str:
    """The Delta application id whose transaction version is the stream's position."""
    return f"landfast/{pipeline_id}/{stream.topic}/{stream.incarnation}/{stream.partition}"


def incarnation_app_id(pipeline_id: str, stream: Stream) -> str:
    """The application id that remembers which incarnation of a topic a partition's rows come from."""
    return f"landfast/{pipeline_id}/{stream.topic}/{stream.partition}/incarnation"


def owner_app_id(pipeline_id: str, stream: Stream) -> str:
    """The application id whose transaction version counts the take-overs of a stream."""
    return f"landfast/{pipeline_id}/{stream.topic}/{stream.incarnation}/{stream.partition}/owner"


def fence_app_id(pipeline_id: str, stream: Stream) -> str:
    """The application id whose transaction version is a stream's fence."""
    return f"landfast/{pipeline_id}/{stream.topic}/{stream.incarnation}/{stream.partition}/letters"


def incarnation_number(incarnation: str) -> int:
    """An incarnation as a transaction version: 63 bits of a digest."""
    return int.from_bytes(hashlib.sha256(incarnation.encode()).digest()[:8]) >> 1
