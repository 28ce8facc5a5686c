"""Logging in to the test broker, and what its users may do there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from landfast.testing.kafka_records import admin
from landfast.testing.wait import wait_until
from tests.conftest import KAFKA_USERS

USER, PASSWORD = next(iter(KAFKA_USERS.items()))


def sasl(password: str = PASSWORD, user: str = USER, mechanism: str = "PLAIN") -> dict[str, str]:
    """Options of one of the broker's users."""
    return {"security.protocol": "sasl_plaintext", "sasl.mechanism": mechanism, "sasl.username": user, "sasl.password": password}


def token(scope: str, user: str = USER) -> dict[str, str]:
    """Options of one of the broker's users who shows a token."""
    claims = f"principal={user} scopeClaimName=scope scope={scope}"
    mechanism = {"security.protocol": "sasl_plaintext", "sasl.mechanism": "OAUTHBEARER", "enable.sasl.oauthbearer.unsecure.jwt": "true"}
    return {**mechanism, "sasl.oauthbearer.config": claims}


def grant(servers: str, kind: str, name: str, *operations: str, user: str = USER) -> None:
    """Let the user do this."""
    client = admin(servers)
    asked = client.create_acls([_binding(AclBinding, kind, name, operation, user) for operation in operations])
    for done in asked.values():
        done.result(30)
    for operation in operations:
        wait_until(lambda operation=operation: _knows(client, kind, name, operation, user), 30)


def withdraw(servers: str, kind: str, name: str, operation: str) -> None:
    """Let the user do this no more."""
    client = admin(servers)
    for done in client.delete_acls([_binding(AclBindingFilter, kind, name, operation, USER)]).values():
        assert len(done.result(30)) == 1
    wait_until(lambda: not _knows(client, kind, name, operation, USER), 30)


def _knows(client: AdminClient, kind: str, name: str, operation: str, user: str) -> bool:
    """Whether the broker goes by this rule already: it hears of rules a moment after the controller, which answers."""
    return bool(client.describe_acls(_binding(AclBindingFilter, kind, name, operation, user)).result(30))


def logs_in(servers: str, options: Mapping[str, str]) -> bool:
    """Whether the broker lets in who comes with these options: it hears of a new user a moment after the controller, which answers."""
    try:
        return bool(admin(servers, options).list_topics(timeout=5).brokers)
    except KafkaException:
        return False


def _binding(make: Any, kind: str, name: str, operation: str, user: str) -> Any:
    place = (ResourceType[kind], name, ResourcePatternType.LITERAL)
    return make(*place, f"User:{user}", "*", AclOperation[operation], AclPermissionType.ALLOW)
