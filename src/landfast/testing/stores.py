"""S3-compatible stores for tests: started on 127.0.0.1, gone when they close, built once from their Go modules."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from landfast.errors import Unavailable
from landfast.testing.cache import cache_folder
from landfast.testing.local_ports import HOST, free_ports

BUCKET = "lake"
ACCESS_KEY = "landfast-tests"
SECRET_KEY = "only-for-tests"  # noqa: S105 — it opens a store that this process starts and stops
_START_ATTEMPTS = 3
_START_SECONDS_MAX = 30.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Module:
    """A Go program and the version the tests are true for."""

    name: str
    path: str
    version: str


VERSITYGW = Module("versitygw", "github.com/versity/versitygw/cmd/versitygw", "1.8.0")
GOFAKES3 = Module("gofakes3", "github.com/johannesboyne/gofakes3/cmd/gofakes3", "1.2.0")


def missing_tools(cache: Path) -> str:
    """What a store lacks on this machine and how to get it; empty where nothing is missing."""
    if all(_program(cache, module).is_file() for module in (VERSITYGW, GOFAKES3)) or shutil.which("go"):
        return ""
    return "an S3-compatible store needs go once, to be built: install Go 1.24 or later (https://go.dev/dl, or apt-get install golang)"


def built(cache: Path, module: Module, wait_seconds_max: float = 1800.0) -> Path:
    """The program of a module; builds it the first time, once however many processes ask.

    Raises:
        Unavailable: Go is missing, or could not build it.
    """
    program = _program(cache, module)
    if program.is_file():
        return program
    lacking = missing_tools(cache)
    if lacking:
        raise Unavailable("SINK_DOWN", lacking)
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{module.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if program.is_file():
            return program
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            environment = {**os.environ, "GOBIN": folder, "GOFLAGS": "-buildvcs=false"}
            command = ["go", "install", "-ldflags=-s -w", f"{module.path}@v{module.version}"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=wait_seconds_max, check=False)
            if done.returncode:
                raise Unavailable("SINK_DOWN", f"go could not build {module.name}: {done.stderr[-1000:]}")
            program.parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / module.name).rename(program)
    return program


def _program(cache: Path, module: Module) -> Path:
    return cache / f"{module.name}-{module.version}" / module.name


class Store:
    """A running store with one empty bucket, `lake`. Base of the two below."""

    module: Module
    server: str

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache or cache_folder("stores")
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self.port = 0

    @property
    def storage_options(self) -> dict[str, str]:
        """What deltalake needs to reach the store."""
        return storage_options(self.port)

    @property
    def folder(self) -> Path:
        """Where it keeps its objects, if it keeps them in files."""
        if self._folder is None:
            raise Unavailable("SINK_DOWN", "the test store was not opened")
        return self._folder

    def __enter__(self) -> Self:
        program = built(self._cache, self.module)
        self._folder = Path(tempfile.mkdtemp(prefix="landfast-store-"))
        for _ in range(_START_ATTEMPTS):
            (self.port,) = free_ports(1)
            self._process = self._start(program, self._folder)
            if self._answers():
                return self
            self._stop()
        self.close()
        raise Unavailable("SINK_DOWN", f"{self.module.name} did not answer within {_START_SECONDS_MAX:.0f} s")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the store and remove what it held. Idempotent."""
        self._stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, program: Path, folder: Path) -> subprocess.Popen[bytes]:
        raise NotImplementedError

    def _answers(self) -> bool:
        """Wait until it answers; False where it ended instead, since another process has the port."""
        deadline = time.monotonic() + _START_SECONDS_MAX
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            if self._server_name() == self.server:
                return True
            time.sleep(_POLL_SECONDS)
        return False

    def _server_name(self) -> str | None:
        """How whatever listens on the port calls itself."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=1)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            connection.request("GET", "/")
            return connection.getresponse().getheader("Server")
        return None

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class VersityGateway(Store):
    """versitygw over a folder: conditional writes hold under races, and a wrong secret is refused."""

    module = VERSITYGW
    server = "VERSITYGW"

    def _start(self, program: Path, folder: Path) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
        command = [str(program), "--port", f"{HOST}:{self.port}", "--quiet", "posix", str(folder)]
        (folder / BUCKET).mkdir(exist_ok=True)
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class FakeS3(Store):
    """gofakes3 in memory: starts at once, holds under races, checks no signature."""

    module = GOFAKES3
    server = "AmazonS3"

    def _start(self, program: Path, folder: Path) -> subprocess.Popen[bytes]:
        command = [str(program), "-backend", "memory", "-initialbucket", BUCKET, "-host", f"{HOST}:{self.port}", "-quiet"]
        return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def storage_options(port: int, **more: str) -> dict[str, str]:
    """Deltalake's options for a store, or a proxy before one, on this port."""
    return {
        "aws_endpoint_url": f"http://{HOST}:{port}",
        "aws_allow_http": "true",
        "aws_access_key_id": ACCESS_KEY,
        "aws_secret_access_key": SECRET_KEY,
        "aws_region": "us-east-1",
        **more,
    }
