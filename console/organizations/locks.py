"""The lock of who belongs to an organization, a function of its own so that tests can show the race without it."""

from console.organizations.models import Organization


def members_lock(organization: Organization) -> None:
    """Hold the organization's list of members until the transaction ends: two who go at once wait for each other."""
    Organization.objects.select_for_update(no_key=True).get(key=organization.key)
