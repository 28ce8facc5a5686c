"""Ports for test brokers and stores: free when they are given, and given to one process only."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from landfast.errors import Unavailable
from landfast.testing.cache import cache_folder
from landfast.testing.local_ports import HOST, free_ports, listens

ASK = "from landfast.testing.local_ports import free_ports; print(*free_ports(20), flush=True); input()"


def test_two_processes_are_never_given_the_same_port() -> None:
    """Between a look at a port and its use another process may look too: each has ports of its own."""
    given = [free_ports(20)]
    command = [sys.executable, "-c", ASK]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as two,
    ):
        for process in (one, two):
            assert process.stdout is not None
            given.append(tuple(map(int, process.stdout.readline().split())))
        one.communicate("\n", timeout=60)
        two.communicate("\n", timeout=60)
    assert len({port for ports in given for port in ports}) == 60


def test_a_taken_port_is_not_given() -> None:
    """A port that somebody listens on is passed over, and others follow until there are none left."""
    (taken,) = free_ports(1)
    with socket.socket() as listener:
        listener.bind((HOST, taken))
        listener.listen()
        assert listens(taken)
        assert taken not in free_ports(40)
        with pytest.raises(Unavailable, match="free ports"):
            free_ports(50)
    assert not listens(taken)


def test_parts_are_kept_where_the_variable_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """`LANDFAST_CACHE` names the folder for all parts; without it they lie beside the project."""
    monkeypatch.setenv("LANDFAST_CACHE", "/kept")
    assert cache_folder("stores") == Path("/kept/stores")
    monkeypatch.delenv("LANDFAST_CACHE")
    assert cache_folder("stores") == Path(__file__).resolve().parents[2] / ".cache" / "stores"
