"""What every page shows around its content."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from django.http import HttpRequest
from django.urls import reverse

from console.common import clock
from console.dashboard.demo import simulated
from console.dashboard.lateness import late_kinds
from console.organizations.actors import Actor
from console.organizations.models import User
from console.organizations.selectors import organizations_of

MOST_TO_SWITCH = 20  # more are chosen on a page of their own


class Page(NamedTuple):
    """A page of the menu; `shown` says to whom."""

    title: str
    name: str
    icon: str
    shown: Callable[[Actor], bool] = lambda actor: True


@dataclass(frozen=True, slots=True)
class Entry:
    title: str
    url: str
    icon: str
    active: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    title: str
    entries: list[Entry]


def writes(actor: Actor) -> bool:
    return actor.can_write


def pays(actor: Actor) -> bool:
    return actor.sees_money


def platform(actor: Actor) -> bool:
    return actor.is_platform


MENU: Sequence[tuple[str, Sequence[Page]]] = [
    ("", [
        Page("Overview", "overview", "layout-dashboard"),
        Page("Deployments", "deployments", "rocket"),
        Page("Decisions", "decisions", "list-details"),
        Page("Backtests", "backtests", "flask"),
        Page("Claims", "claims", "stack-2"),
        Page("Reserve", "claim-new", "plus", writes),
        Page("Capacity", "capacity", "server-2"),
        Page("Quota", "quota", "gauge"),
        Page("Billing", "billing", "coin", pays),
        Page("Gateways", "gateways", "route"),
    ]),
    ("Organization", [
        Page("Members", "members", "users", writes),
        Page("Tokens", "tokens", "shield-check", writes),
        Page("Notifications", "notifications", "bell"),
        Page("Audit", "audit", "history"),
    ]),
    ("Platform", [Page("Admin", "admin:index", "settings", platform)]),
]  # fmt: skip


def chrome(request: HttpRequest) -> dict[str, Any]:
    user = getattr(request, "user", None)
    in_admin = request.path.startswith("/admin") and isinstance(user, User) and user.is_staff
    if not isinstance(user, User) or not user.is_authenticated or in_admin:
        return {"simulated": simulated()}
    actor: Actor = request.actor  # type: ignore[attr-defined]
    organizations = list(organizations_of(user)[: MOST_TO_SWITCH + 1])
    return {
        "navigation": navigation(request.path, actor),
        "organization": actor.organization,
        "organizations": organizations,
        "many_organizations": len(organizations) > MOST_TO_SWITCH,
        "role": "platform" if actor.is_platform else actor.role,
        "can_write": actor.can_write,
        "sees_money": actor.sees_money,
        "is_platform": actor.is_platform,
        "late_loops": cache(lambda: late_kinds(clock.now())),  # asked only where the view has not said it
        "simulated": simulated(),
    }


def navigation(path: str, actor: Actor) -> list[Group]:
    """The pages that the actor may see; the one whose address is the longest beginning of the path is where we are."""
    groups = [(title, [(page, reverse(page.name)) for page in pages if page.shown(actor)]) for title, pages in MENU]
    best = page_of(path, [url for _, pages in groups for _, url in pages])
    return [
        Group(title, [Entry(page.title, url, page.icon, url == best) for page, url in pages])
        for title, pages in groups
        if pages
    ]


def page_of(path: str, urls: Sequence[str]) -> str:
    """The address of the menu that a path lies at or below; empty when there is none."""
    inside = [url for url in urls if path == url or (url != "/" and path.startswith(url.rstrip("/") + "/"))]
    return max(inside, key=len, default="")


def landing(path: str, query: str, actor: Actor) -> str:
    """Where to go on after a switch of organization: the same page where it names no object, else the list it is of."""
    url = page_of(path, [entry.url for group in navigation(path, actor) for entry in group.entries])
    if not url or url.startswith(reverse("admin:index")):
        return reverse("overview")
    return f"{url}?{query}" if query and path == url else url
