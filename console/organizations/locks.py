"""Locks of an organization, each a function of its own so that tests can show the race without it."""

from django.db import connection

from console.organizations.models import ApiToken, Organization


def members_lock(organization: Organization) -> None:
    """Hold the organization's list of members until the transaction ends: two who go at once wait for each other."""
    Organization.objects.select_for_update(no_key=True).get(key=organization.key)


def token_lock(token: ApiToken) -> None:
    """Hold the token until the transaction ends: nobody revokes it meanwhile."""
    ApiToken.objects.select_for_update(no_key=True).get(pk=token.pk)


def idempotency_lock(organization: Organization, caller: str, key: str) -> None:
    """Let requests with the same key go one after the other. Taken before every other lock."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"idempotency {organization.key} {caller} {key}"]
        )
