"""Roles at the door: reading needs any role, writing needs admin. Services ask again, with the object at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from console.common.errors import PermissionDenied, Unauthenticated
from console.organizations.actors import Actor
from console.organizations.api.authentication import HOW

if TYPE_CHECKING:  # the views import their permissions
    from rest_framework.views import APIView


def request_actor(request: Request) -> Actor:
    """The caller, in an organization; Unauthenticated or NotFound otherwise."""
    actor = request.user
    if not isinstance(actor, Actor):
        raise Unauthenticated(f"Nobody is signed in. {HOW}")
    actor.require_organization()
    return actor


class HasRole(BasePermission):
    def has_permission(self, request: Request, view: APIView) -> bool:
        actor = request_actor(request)
        if request.method in SAFE_METHODS:
            if actor.role is None and not actor.is_platform:
                raise PermissionDenied(f"{actor.name} has no role in this organization.")
            return True
        actor.require_write()
        return True


class ForAdmins(HasRole):
    """For what only admins may read: tokens, members, and where notifications are sent."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        super().has_permission(request, view)
        request_actor(request).require_write()
        return True


class SeesMoney(HasRole):
    """For amounts of money: billing or admin."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        super().has_permission(request, view)
        request_actor(request).require_money()
        return True
