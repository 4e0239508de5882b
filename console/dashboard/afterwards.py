"""History that was made afterwards, as pages show it: how far it is, and which part of a chart it is."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from console.organizations.actors import Actor
from console.organizations.models import Organization
from deployments.history.selectors import Span, histories_to_show, history_span
from deployments.models import HistoryState

TEXT = "Simulated history, made afterwards"


@dataclass(frozen=True, slots=True)
class Making:
    """A history that is being made, or could not be."""

    id: UUID
    starts_at: datetime
    ends_at: datetime
    made_from: datetime
    percent: int
    failed: bool
    error: str  # for platform staff
    cancellable: bool


def makings(organization: Organization, actor: Actor) -> list[Making]:
    """One query."""
    return [
        Making(
            one.id, one.starts_at, one.ends_at, one.made_from, int(100 * one.progress),
            failed=one.state == HistoryState.FAILED,
            error=one.last_error if actor.is_platform else "",
            cancellable=actor.can_write and one.organization_id == organization.key and one.state != HistoryState.FAILED,
        )
        for one in histories_to_show(organization)
    ]  # fmt: skip


def shown_since(deployment_keys: Iterable[int], began_at: datetime | None) -> tuple[datetime | None, Span | None]:
    """From when on a chart of deployments has something to show, and the part that was made afterwards. One query."""
    made = history_span(deployment_keys)
    return (made[0] if made else began_at), made
