"""How the broker of the tests is set up."""

from __future__ import annotations

from collections.abc import Mapping

BEARER_SCOPE = "landfast-test"
"""What a token must carry that the test broker accepts."""

_PLAIN_LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
_SCRAM_LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule"
_BEARER_LOGIN = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"
_SASL = "listener.name.sasl_plaintext"

BROKER: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LINE:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "auto.create.topics.enable": "false",
    # Compaction looks for work every 15 s by default.
    "log.cleaner.backoff.ms": "200",
    # Records with times of long ago must not vanish while a test runs.
    "log.retention.ms": "-1",
    # The controller refuses a killed broker's successor until the old session has ended: 9 s by default.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    # Quick groups: short sessions are allowed, and the newer protocol's server-side intervals are short.
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "100",
    "group.consumer.heartbeat.interval.ms": "300",
}
"""What every broker of the tests has in common."""


def logins(users: Mapping[str, str]) -> dict[str, str]:
    """What lets these users (name to password) log in, and keeps them to what ACLs allow."""
    known = " ".join(f'user_{name}="{password}"' for name, password in users.items())
    bearer = f'{_BEARER_LOGIN} required unsecuredLoginStringClaim_sub="broker" unsecuredValidatorRequiredScope="{BEARER_SCOPE}";'
    return {
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,OAUTHBEARER",
        f"{_SASL}.plain.sasl.jaas.config": f"{_PLAIN_LOGIN} required {known};",
        f"{_SASL}.scram-sha-256.sasl.jaas.config": f"{_SCRAM_LOGIN} required;",
        f"{_SASL}.oauthbearer.sasl.jaas.config": bearer,
        # A connection whose token has ended is closed at the next request, unless its client has shown a new one.
        f"{_SASL}.oauthbearer.connections.max.reauth.ms": "4000",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
