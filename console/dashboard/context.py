"""What every page shows around its content."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from console.common import clock
from console.dashboard.demo import simulated
from console.loops.selectors import loops_late
from console.organizations.models import User
from console.organizations.selectors import organizations_of


@dataclass(frozen=True, slots=True)
class Entry:
    title: str
    url: str
    icon: str
    active: bool = False


PAGES = [
    ("Overview", "overview", "layout-dashboard"),
    ("Deployments", "deployments", "rocket"),
    ("Claims", "claims", "stack-2"),
    ("Reserve capacity", "claim-new", "plus"),
    ("Capacity and quota", "capacity", "server-2"),
]


def chrome(request: HttpRequest) -> dict[str, Any]:
    user = getattr(request, "user", None)
    if not isinstance(user, User) or not user.is_authenticated or request.path.startswith("/admin"):
        return {"simulated": simulated()}
    actor = request.actor  # type: ignore[attr-defined]
    return {
        "navigation": navigation(request.path, user.is_staff),
        "organization": actor.organization,
        "organizations": organizations_of(user),
        "role": "platform" if actor.is_platform else actor.role,
        "can_write": actor.can_write,
        "sees_money": actor.sees_money,
        "late_loops": loops_late(now=clock.now()),
        "simulated": simulated(),
    }


def navigation(path: str, staff: bool) -> list[Entry]:
    """The entry whose address is the longest beginning of the path is the one we are on."""
    entries = [(title, reverse(name), icon) for title, name, icon in PAGES]
    if staff:
        entries.append(("Admin", reverse("admin:index"), "settings"))
    inside = [url for _, url, _ in entries if path == url or (url != "/" and path.startswith(url + "/"))]
    best = max(inside, key=len, default="")
    return [Entry(title, url, icon, url == best) for title, url, icon in entries]
