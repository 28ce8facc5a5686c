"""Every librdkafka setting that a consumer of ours may be given, with what it may hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_WHOLE = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Kind:
    """What an option may hold: `choices` (any of them), or a whole number in `[low, high]`, or any text where both are absent."""

    choices: tuple[str, ...] = ()
    low: int | None = None
    high: int | None = None

    def accepts(self, value: str) -> bool:
        """Whether the value is one that this option may hold."""
        if self.choices:
            return value.lower() in {choice.lower() for choice in self.choices}
        if self.low is None or self.high is None:
            return True
        number = whole_number(value)
        return number is not None and self.low <= number <= self.high

    def __str__(self) -> str:
        if self.choices:
            return "one of " + ", ".join(self.choices)
        return "text" if self.low is None else f"a whole number from {self.low} to {self.high}"


def whole_number(text: str) -> int | None:
    """The whole number that a text says, or None where it says none that an option could have."""
    return int(text) if _WHOLE.fullmatch(text) else None


def whole(low: int, high: int) -> Kind:
    """A whole number in `[low, high]`."""
    return Kind(low=low, high=high)


def one_of(*choices: str) -> Kind:
    """One of these words."""
    return Kind(choices=choices)


FLAG = one_of("true", "false")
TEXT = Kind()

KNOWN: Mapping[str, Kind] = MappingProxyType(
    {
        "allow.auto.create.topics": FLAG,
        "api.version.request.timeout.ms": whole(1, 300_000),
        "auto.commit.interval.ms": whole(0, 86_400_000),
        "bootstrap.servers": TEXT,
        "broker.address.family": one_of("any", "v4", "v6"),
        "broker.address.ttl": whole(0, 86_400_000),
        "check.crcs": FLAG,
        "client.dns.lookup": one_of("use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"),
        "client.id": TEXT,
        "client.rack": TEXT,
        "connections.max.idle.ms": whole(0, 2_147_483_647),
        "coordinator.query.interval.ms": whole(1, 3_600_000),
        "debug": TEXT,
        "enable.auto.commit": FLAG,
        "enable.auto.offset.store": FLAG,
        "enable.metrics.push": FLAG,
        "enable.partition.eof": FLAG,
        "enable.random.seed": FLAG,
        "enable.sasl.oauthbearer.unsecure.jwt": FLAG,
        "enable.ssl.certificate.verification": FLAG,
        "fetch.error.backoff.ms": whole(0, 300_000),
        "fetch.max.bytes": whole(0, 2_147_483_135),
        "fetch.message.max.bytes": whole(1, 1_000_000_000),
        "fetch.min.bytes": whole(0, 2_147_483_647),
        "fetch.queue.backoff.ms": whole(0, 300_000),
        "fetch.wait.max.ms": whole(0, 300_000),
        "group.id": TEXT,
        "group.instance.id": TEXT,
        "group.protocol": one_of("classic", "consumer"),
        "group.remote.assignor": TEXT,
        "heartbeat.interval.ms": whole(1, 3_600_000),
        "https.ca.location": TEXT,
        "https.ca.pem": TEXT,
        "isolation.level": one_of("read_uncommitted", "read_committed"),
        "log.connection.close": FLAG,
        "log.thread.name": FLAG,
        "log_level": whole(0, 7),
        "max.in.flight": whole(1, 1_000_000),
        "max.in.flight.requests.per.connection": whole(1, 1_000_000),
        "max.partition.fetch.bytes": whole(1, 1_000_000_000),
        "max.poll.interval.ms": whole(1, 86_400_000),
        "metadata.broker.list": TEXT,
        "metadata.max.age.ms": whole(1, 86_400_000),
        "metadata.recovery.rebootstrap.trigger.ms": whole(0, 2_147_483_647),
        "metadata.recovery.strategy": one_of("none", "rebootstrap"),
        "partition.assignment.strategy": TEXT,
        "plugin.library.paths": TEXT,
        "queued.max.messages.kbytes": whole(1, 2_097_151),
        "queued.min.messages": whole(1, 10_000_000),
        "receive.message.max.bytes": whole(1_000, 2_147_483_647),
        "reconnect.backoff.max.ms": whole(0, 3_600_000),
        "reconnect.backoff.ms": whole(0, 3_600_000),
        "retry.backoff.max.ms": whole(1, 300_000),
        "retry.backoff.ms": whole(1, 300_000),
        "sasl.kerberos.keytab": TEXT,
        "sasl.kerberos.kinit.cmd": TEXT,
        "sasl.kerberos.min.time.before.relogin": whole(0, 86_400_000),
        "sasl.kerberos.principal": TEXT,
        "sasl.kerberos.service.name": TEXT,
        "sasl.mechanism": TEXT,
        "sasl.mechanisms": TEXT,
        "sasl.oauthbearer.assertion.algorithm": one_of("RS256", "ES256"),
        "sasl.oauthbearer.assertion.claim.aud": TEXT,
        "sasl.oauthbearer.assertion.claim.exp.seconds": whole(1, 2_147_483_647),
        "sasl.oauthbearer.assertion.claim.iss": TEXT,
        "sasl.oauthbearer.assertion.claim.jti.include": FLAG,
        "sasl.oauthbearer.assertion.claim.nbf.seconds": whole(0, 2_147_483_647),
        "sasl.oauthbearer.assertion.claim.sub": TEXT,
        "sasl.oauthbearer.assertion.file": TEXT,
        "sasl.oauthbearer.assertion.jwt.template.file": TEXT,
        "sasl.oauthbearer.assertion.private.key.file": TEXT,
        "sasl.oauthbearer.assertion.private.key.passphrase": TEXT,
        "sasl.oauthbearer.assertion.private.key.pem": TEXT,
        "sasl.oauthbearer.client.credentials.client.id": TEXT,
        "sasl.oauthbearer.client.credentials.client.secret": TEXT,
        "sasl.oauthbearer.client.id": TEXT,
        "sasl.oauthbearer.client.secret": TEXT,
        "sasl.oauthbearer.config": TEXT,
        "sasl.oauthbearer.extensions": TEXT,
        "sasl.oauthbearer.grant.type": one_of("client_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        "sasl.oauthbearer.metadata.authentication.type": one_of("none", "azure_imds", "aws_iam"),
        "sasl.oauthbearer.method": one_of("default", "oidc"),
        "sasl.oauthbearer.scope": TEXT,
        "sasl.oauthbearer.sub.claim.name": TEXT,
        "sasl.oauthbearer.token.endpoint.url": TEXT,
        "sasl.password": TEXT,
        "sasl.username": TEXT,
        "security.protocol": one_of("plaintext", "ssl", "sasl_plaintext", "sasl_ssl"),
        "session.timeout.ms": whole(1, 3_600_000),
        "socket.connection.setup.timeout.ms": whole(1_000, 2_147_483_647),
        "socket.keepalive.enable": FLAG,
        "socket.max.fails": whole(0, 1_000_000),
        "socket.nagle.disable": FLAG,
        "socket.receive.buffer.bytes": whole(0, 100_000_000),
        "socket.send.buffer.bytes": whole(0, 100_000_000),
        "socket.timeout.ms": whole(10, 300_000),
        "ssl.ca.certificate.stores": TEXT,
        "ssl.ca.location": TEXT,
        "ssl.ca.pem": TEXT,
        "ssl.certificate.location": TEXT,
        "ssl.certificate.pem": TEXT,
        "ssl.cipher.suites": TEXT,
        "ssl.crl.location": TEXT,
        "ssl.curves.list": TEXT,
        "ssl.endpoint.identification.algorithm": one_of("none", "https"),
        "ssl.engine.id": TEXT,
        "ssl.key.location": TEXT,
        "ssl.key.password": TEXT,
        "ssl.key.pem": TEXT,
        "ssl.keystore.location": TEXT,
        "ssl.keystore.password": TEXT,
        "ssl.providers": TEXT,
        "ssl.sigalgs.list": TEXT,
        "topic.blacklist": TEXT,
        "topic.metadata.propagation.max.ms": whole(0, 3_600_000),
        "topic.metadata.refresh.fast.interval.ms": whole(1, 60_000),
        "topic.metadata.refresh.interval.ms": whole(1_000, 300_000),
        "topic.metadata.refresh.sparse": FLAG,
    }
)

CONSUMER_ONLY = frozenset(
    {
        "auto.commit.interval.ms",
        "check.crcs",
        "coordinator.query.interval.ms",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.partition.eof",
        "fetch.error.backoff.ms",
        "fetch.max.bytes",
        "fetch.message.max.bytes",
        "fetch.min.bytes",
        "fetch.queue.backoff.ms",
        "fetch.wait.max.ms",
        "group.id",
        "group.instance.id",
        "group.protocol",
        "group.remote.assignor",
        "heartbeat.interval.ms",
        "isolation.level",
        "max.partition.fetch.bytes",
        "max.poll.interval.ms",
        "partition.assignment.strategy",
        "queued.max.messages.kbytes",
        "queued.min.messages",
        "session.timeout.ms",
    }
)
"""What a client that only asks questions has no use for."""
