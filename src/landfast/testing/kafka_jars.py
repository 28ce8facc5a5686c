"""The jars of a real Apache Kafka, got once by Maven and kept in a cache folder."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import tempfile
from pathlib import Path

from landfast.errors import Unavailable

KAFKA_VERSION = "4.1.0"

_ARTIFACTS = (
    ("org.apache.kafka", "kafka_2.13", KAFKA_VERSION),
    ("org.apache.kafka", "kafka-tools", KAFKA_VERSION),
    ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.24.3"),
)


def missing_tools(cache: Path) -> str:
    """Which programs a real Kafka lacks on this machine and how to get them; empty where nothing is missing."""
    lacking = [] if shutil.which("java") else ["java"]
    if not _folder(cache).is_dir() and not shutil.which("mvn"):
        lacking.append("mvn")
    if not lacking:
        return ""
    advice = "install Java 17 and Maven (Debian, Ubuntu: apt-get install openjdk-17-jre-headless maven)"
    return f"a real Kafka needs {' and '.join(lacking)}: {advice}"


def jars(cache: Path, wait_seconds_max: float = 600.0) -> Path:
    """The folder that holds every jar. Gets them the first time, once however many processes ask.

    Raises:
        Unavailable: Java or Maven is missing, or Maven could not get the jars.
    """
    lacking = missing_tools(cache)
    if lacking:
        raise Unavailable("SOURCE_DOWN", lacking)
    folder = _folder(cache)
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            _download(folder, wait_seconds_max)
    return folder


def _folder(cache: Path) -> Path:
    return cache / f"libs-{KAFKA_VERSION}"


def _download(folder: Path, wait_seconds_max: float) -> None:
    dependencies = "".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version></dependency>"
        for group, name, version in _ARTIFACTS
    )
    project = (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>landfast</groupId>'
        f"<artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging><dependencies>{dependencies}</dependencies></project>"
    )
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        (Path(work) / "pom.xml").write_text(project)
        done = subprocess.run(
            ["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={work}/libs"],
            cwd=work,
            check=False,
            capture_output=True,
            text=True,
            timeout=wait_seconds_max,
        )
        if done.returncode != 0:
            raise Unavailable(
                "SOURCE_DOWN", f"Maven could not get Apache Kafka {KAFKA_VERSION}: {(done.stdout + done.stderr).strip()[-1000:]}"
            )
        # A rename inside one folder is atomic: a half-filled folder is never taken for a whole one.
        (Path(work) / "libs").rename(folder)
