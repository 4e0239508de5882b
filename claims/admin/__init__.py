"""The platform's tooling for capacity and money. What changes something does it through the services."""

from claims.admin import capacity, machines, money, quota_requests

__all__ = ["capacity", "machines", "money", "quota_requests"]
