"""How long a deployment was short of GPUs: no setting helps against that."""

from datetime import datetime, timedelta

from deployments.core.plan import SHORT
from deployments.models import Decision, Deployment

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def hours_short(deployment: Deployment, now: datetime) -> float:
    """Hours of the last day in which it had fewer replicas than it wanted, because no GPUs were to be had. Each decision
    holds until the next."""
    start = now - DAY
    mine = Decision.objects.filter(deployment=deployment, made_afterwards=False, at__lte=now)
    begun = mine.filter(at__lte=start).order_by("-at", "-id").values_list("at", flat=True).first()
    rows = list(
        mine.filter(at__gte=begun or start).order_by("at", "id").values_list("at", "wanted", "granted", "bound")
    )
    ends = [at for at, *_ in rows[1:]] + [now]
    spent = [
        max(timedelta(0), until - max(at, start))
        for (at, wanted, granted, bound), until in zip(rows, ends, strict=True)
        if granted < wanted and bound in SHORT
    ]
    return round(sum(spent, timedelta(0)) / HOUR, 2)
