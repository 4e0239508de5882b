"""What people set that bounds a size, at a time: holds and schedule windows, who set them and until when."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from claims.core.windows import open_at
from claims.window_rows import window_of
from console.common.words import counted
from deployments.models import Deployment, Hold, ScheduleWindow
from deployments.schedules.selectors import words_of
from deployments.selectors import concerning, holds_at

KEEPS = ("A freeze keeps the size that was last wanted: a replica that fails is replaced, and one that is missing starts "
         "once there is room.")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Open:
    """A window that is open. `changed`: it has been changed since the time that was asked about."""

    row: ScheduleWindow
    until: datetime
    changed: bool

    @property
    def words(self) -> str:
        user, token = self.row.created_by_user, self.row.created_by_token
        by = user.get_username() if user else f"token {token.name}" if token else ""
        return f"{words_of(self.row)}{f', made by {by}' if by else ''}"


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one deployment, at one time."""

    holds: Sequence[Hold]
    windows: Sequence[Open]
    own_max: int  # without a window

    @property
    def top(self) -> Open | None:
        """The open window that sets a max."""
        return next((one for one in reversed(self.windows) if one.row.max is not None), None)

    @property
    def bottom(self) -> Open | None:
        return next((one for one in reversed(self.windows) if one.row.min is not None), None)


def limits_at(deployment: Deployment, at: datetime) -> Limits:
    """Two queries."""
    holds = concerning(holds_at(deployment.organization, at), deployment)
    rows = ScheduleWindow.objects.filter(deployment=deployment, created_at__lte=at).order_by("key")
    windows = []
    for row in rows.select_related("created_by_user", "created_by_token"):
        found = open_at(window_of(row), at, timedelta(), None)
        if found:
            windows.append(Open(row, found.end, row.updated_at > at))
    return Limits(holds, windows, deployment.autoscaling.max)


def said_of_holds(holds: Sequence[Hold], size: int) -> str:
    """What holds the size, in words."""
    said = "; ".join(_hold(one) for one in holds)
    keeps = f" {KEEPS}" if holds and all(one.size is None for one in holds) else ""
    return f"Held at {counted(size, 'replica')}: {said}.{keeps}"


def _hold(one: Hold) -> str:
    what = "frozen" if one.size is None else f"pinned to {one.size}"
    whole = (
        "" if one.deployment_id else " with all of its organization" if one.organization_id else " with the whole fleet"
    )
    since = f"{one.created_at:%Y-%m-%d %H:%M:%S} UTC"
    return f"{what}{whole} by {one.created_by} since {since}, {until(one.expires_at)}: {one.reason}"


def until(at: datetime | None) -> str:
    return f"until {at:%Y-%m-%d %H:%M} UTC" if at else "until somebody ends it"


def said_of_max(limits: Limits, most: int) -> str:
    """The window whose max is in force, in words."""
    top = limits.top
    if top is None:
        return f"a schedule window that was open then and is not there any more allows at most {most}"
    changed = " (it has been changed since)" if top.changed else ""
    return (f"the schedule window {top.words}, allows at most {most} until {top.until:%Y-%m-%d %H:%M} UTC{changed}; "
            f"without it, its own max is {limits.own_max}")  # fmt: skip
