"""When a smaller target of a SERVERLESS claim takes effect (C7): at most one reduction an interval."""

from datetime import datetime, timedelta


def takes_effect(
    *,
    held: int,
    target: int,
    scheduled: datetime | None,
    last: datetime | None,
    interval: timedelta,
    now: datetime,
) -> datetime | None:
    """When a claim that holds `held` instances gives up those beyond `target`; None where it gives up none.

    `now` means at once. A reduction that is scheduled already keeps its time, whatever its target becomes; `last` is
    when one last took effect, None: never.
    """
    if target >= held:
        return None
    if scheduled is not None:
        return scheduled
    return now if last is None else max(now, last + interval)
