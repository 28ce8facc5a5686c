"""No byte of Kafka's is spoken over a connection that TLS does not vouch for."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from landfast.config import from_mapping
from landfast.errors import LandfastError, Misconfigured
from landfast.events import Notice
from landfast.pipeline import Pipeline
from landfast.sources.kafka import KafkaSource
from landfast.sources.kafka_settings import KafkaSettings, checked_options
from landfast.system import SystemClock
from landfast.wiring import Silence
from tests.sinks.delta_world import Ears

pytestmark = pytest.mark.system

SECRET = "only-for-tests"
NAMES = {"good": "IP:127.0.0.1", "another-name": "DNS:elsewhere.example"}
REFUSED = {
    "expired": ("expired", True, ssl.TLSVersion.MAXIMUM_SUPPORTED),
    "self-signed": ("good", False, ssl.TLSVersion.MAXIMUM_SUPPORTED),
    "another-name": ("another-name", True, ssl.TLSVersion.MAXIMUM_SUPPORTED),
    "old-version": ("good", True, ssl.TLSVersion.TLSv1_1),
}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A key with its certificate for each case, in one PEM file that a client may trust as it is."""
    folder = tmp_path_factory.mktemp("keys")
    made = {name: folder / f"{name}.pem" for name in (*NAMES, "expired")}
    try:
        for name, alternative in NAMES.items():
            kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=broker", "-days", "30"]
            key = folder / f"{name}.key"
            _run("openssl", "req", *kind, "-addext", f"subjectAltName={alternative}", "-keyout", key, "-out", made[name])
            made[name].write_bytes(made[name].read_bytes() + key.read_bytes())
        # Of the two only keytool makes what is over already.
        store = ["-storetype", "PKCS12", "-keystore", folder / "expired.p12", "-storepass", SECRET]
        life = ["-ext", "san=ip:127.0.0.1", "-startdate", "-10d", "-validity", "5"]
        _run("keytool", "-genkeypair", "-alias", "broker", "-keyalg", "EC", "-dname", "CN=broker", "-ext", "bc=ca:true", *life, *store)
        _run("openssl", "pkcs12", "-in", folder / "expired.p12", "-nodes", "-passin", f"pass:{SECRET}", "-out", made["expired"])
    except FileNotFoundError as error:
        pytest.skip(f"{error.filename} is missing")
    return made


def _run(*words: str | Path) -> None:
    subprocess.run(words, check=True, timeout=60, capture_output=True)


class Server:
    """Listens with TLS, and counts with whom a handshake was made to its end."""

    def __init__(self, key: Path, newest: ssl.TLSVersion) -> None:
        self.shaken = 0
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self._context.minimum_version, self._context.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, newest
        self._context.set_ciphers("ALL:@SECLEVEL=0")
        self._context.load_cert_chain(key)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._socket.accept()
                peer.settimeout(5)
                with peer, contextlib.suppress(OSError), self._context.wrap_socket(peer, server_side=True):
                    self.shaken += 1

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@contextlib.contextmanager
def serving(key: Path, newest: ssl.TLSVersion) -> Iterator[Server]:
    server = Server(key, newest)
    try:
        yield server
    finally:
        server.close()


def _refusal(port: int, options: Mapping[str, str]) -> LandfastError:
    chosen = {"security.protocol": "SSL", "log_level": "0", **options}
    settings = KafkaSettings(f"127.0.0.1:{port}", "g", ("t",), options=chosen, request_seconds_max=2.0)
    with pytest.raises(LandfastError) as caught:
        KafkaSource(settings, SystemClock(), Silence()).bounds()
    return caught.value


@pytest.mark.parametrize("name", REFUSED)
def test_x9_a_connection_that_tls_does_not_vouch_for_is_not_made(name: str, keys: Mapping[str, Path]) -> None:
    """An expired certificate, an unknown one, one for another name, a version before 1.2: no handshake ends, and the error has a code."""
    key, trusted, newest = REFUSED[name]
    with serving(keys[key], newest) as server:
        error = _refusal(server.port, {"ssl.ca.location": str(keys[key])} if trusted else {})
        assert server.shaken == 0
    assert error.code in {"SOURCE_AUTH", "SOURCE_DOWN"}


def test_x9_the_same_server_with_a_good_certificate_is_spoken_to(keys: Mapping[str, Path]) -> None:
    """What the tests above would see if TLS had nothing against it."""
    with serving(keys["good"], ssl.TLSVersion.MAXIMUM_SUPPORTED) as server:
        _refusal(server.port, {"ssl.ca.location": str(keys["good"])})
        assert server.shaken > 0


@pytest.mark.parametrize(
    "address",
    [
        "http://login.example.com/token",
        "file:///etc/passwd",
        "ftp://login.example.com/token",
        "gopher://login.example.com:70/_x",
        "login.example.com/token",
        "//login.example.com/token",
        "https:///token",
        "https:/login.example.com",
        " https://login.example.com",
        "http://169.254.169.254/latest/meta-data",
        "jdbc:x",
        "",
    ],
)
def test_x10_a_token_is_asked_for_over_https_only(address: str) -> None:
    """The client's secret goes to the endpoint: no other scheme is opened, no file read, and the address is not shown."""
    options = {"sasl.mechanism": "OAUTHBEARER", "sasl.oauthbearer.method": "oidc", "sasl.oauthbearer.token.endpoint.url": address}
    with pytest.raises(Misconfigured) as caught:
        checked_options(KafkaSettings("h:1", "g", ("t",), options=options))
    assert caught.value.code == "CONFIG_UNSAFE"
    assert not address.strip("/ ") or address not in str(caught.value)
    good = {**options, "sasl.oauthbearer.token.endpoint.url": "https://login.example.com/token"}
    assert checked_options(KafkaSettings("h:1", "g", ("t",), options=good)) == good


OPEN: Mapping[str, tuple[dict[str, str], str]] = {
    "login-in-plain-words": ({"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.password": "x"}, "login"),
    "any-certificate": ({"security.protocol": "SSL", "enable.ssl.certificate.verification": "false"}, "any certificate"),
    "any-name": ({"security.protocol": "SASL_SSL", "ssl.endpoint.identification.algorithm": "none"}, "another name"),
}


@pytest.mark.parametrize("name", OPEN)
def test_x9_what_a_connection_leaves_open_is_said_at_every_start(name: str, tmp_path: Path) -> None:
    """The checks of TLS cannot be switched off in silence: a line with a code comes before the first connection."""
    options, words = OPEN[name]
    ears = Ears()
    with pytest.raises(LandfastError):
        _pipeline(tmp_path, options).run(until_end=True, observer=ears)
    (said,) = [one for one in ears.heard if isinstance(one, Notice) and one.code == "CONNECTION_UNSAFE"]
    assert words in said.message
    assert said.severity == "info"


@pytest.mark.parametrize(
    "options", [{}, {"security.protocol": "SSL"}, {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-512"}]
)
def test_x9_of_a_connection_that_promises_no_more_nothing_is_said(options: dict[str, str], tmp_path: Path) -> None:
    """A line that is always there is read by nobody."""
    ears = Ears()
    with pytest.raises(LandfastError):
        _pipeline(tmp_path, options).run(until_end=True, observer=ears)
    assert ears.heard
    assert not [one for one in ears.heard if isinstance(one, Notice) and one.code == "CONNECTION_UNSAFE"]


def _pipeline(folder: Path, options: Mapping[str, str]) -> Pipeline:
    source = {"servers": "127.0.0.1:1", "topics": ["t"], "request_seconds_max": 0.2, "options": dict(options)}
    body = {"name": "p", "source": source, "decode": {"format": "raw"}, "sink": {"path": "lake"}, "engine": {"open_wait_seconds": 0.0}}
    return Pipeline.from_settings(from_mapping(body, folder=folder))
