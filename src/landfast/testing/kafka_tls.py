"""A certificate for a test broker, made by the keytool that comes with Java."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from landfast.errors import Unavailable

_PASSWORD = "only-for-tests"  # noqa: S105 — of a key that lives as long as a test


@dataclass(frozen=True, slots=True)
class Certificate:
    """A key for 127.0.0.1 that vouches for itself.

    keystore  key and certificate, as the broker wants them (PKCS 12)
    authority the certificate as PEM: what a client trusts with `ssl.ca.location`
    """

    keystore: Path
    authority: Path

    def properties(self, listener: str) -> dict[str, str]:
        """A broker's properties for a listener that shows this certificate."""
        settings = {"keystore.type": "PKCS12", "keystore.location": str(self.keystore), "keystore.password": _PASSWORD}
        return {f"listener.name.{listener}.ssl.{name}": value for name, value in settings.items()}


def make_certificate(folder: Path, seconds_max: float = 60.0) -> Certificate:
    """Make a key pair and its certificate in a folder.

    Raises:
        Unavailable: keytool is missing or failed.
    """
    made = Certificate(folder / "broker.p12", folder / "authority.pem")
    store = ["-keystore", str(made.keystore), "-storetype", "PKCS12", "-storepass", _PASSWORD, "-alias", "broker"]
    name = ["-dname", "CN=127.0.0.1", "-ext", "san=ip:127.0.0.1", "-ext", "bc=ca:true", "-validity", "30"]
    _keytool(["-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", *name, *store], seconds_max)
    _keytool(["-exportcert", "-rfc", "-file", str(made.authority), *store], seconds_max)
    return made


def _keytool(arguments: list[str], seconds_max: float) -> None:
    try:
        done = subprocess.run(["keytool", *arguments], check=False, capture_output=True, text=True, timeout=seconds_max)
    except FileNotFoundError as error:
        raise Unavailable("SOURCE_DOWN", "keytool is missing", next_step="Install a Java runtime.") from error
    if done.returncode != 0:
        raise Unavailable("SOURCE_DOWN", f"keytool failed: {(done.stdout + done.stderr).strip()[-500:]}")
