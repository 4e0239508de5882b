"""Machines: who has them, what runs there, and the platform's work on them."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from claims import models, services
from claims.admin.base import confirmed_action
from claims.effects import work_effects
from claims.models import Instance, Work
from console.organizations.admin import OrganizationFilter, ReadOnlyAdmin, platform_actor

TITLES = {
    Work.CORDON.value: "Cordon machines",
    Work.DRAIN.value: "Drain machines",
    Work.BAD.value: "Mark machines bad: there is no way back",
    "": "End the work on machines",
}


@admin.register(models.Instance)
class InstanceAdmin(ReadOnlyAdmin):
    list_display = ["name", "condition", "organization", "claim", "gpus_in_use", "source", "drain_until", "lost_at",
                    "offering", "last_error"]  # fmt: skip
    list_filter = ["state", "work", "kept", "source", "offering__zone", "offering__instance_type", OrganizationFilter]
    search_fields = ["name", "claim__name", "organization__slug", "work_reason"]
    list_select_related = ["offering__zone", "offering__instance_type", "organization", "claim"]
    actions = ["cordon", "drain", "mark_bad", "end_work"]

    @admin.display(description="state", ordering="state")
    def condition(self, instance: Instance) -> str:
        """Its state, and why it takes nothing new where that is so."""
        also = [
            *([instance.get_work_display().lower()] if instance.work else []),
            *(["kept for a claim"] if instance.kept else []),
        ]
        return ", ".join([instance.get_state_display().lower(), *also])

    @admin.display(description="GPUs in use", ordering="gpus_used")
    def gpus_in_use(self, instance: Instance) -> str:
        return f"{instance.gpus_used} of {instance.gpus}"

    @admin.action(description="Cordon: nothing new")
    def cordon(self, request: HttpRequest, queryset: QuerySet[Instance]) -> HttpResponse | None:
        return self._work(request, queryset, "cordon", Work.CORDON.value)

    @admin.action(description="Drain: what runs there moves away")
    def drain(self, request: HttpRequest, queryset: QuerySet[Instance]) -> HttpResponse | None:
        return self._work(request, queryset, "drain", Work.DRAIN.value)

    @admin.action(description="Mark bad: drain, give back, replace")
    def mark_bad(self, request: HttpRequest, queryset: QuerySet[Instance]) -> HttpResponse | None:
        return self._work(request, queryset, "mark_bad", Work.BAD.value)

    @admin.action(description="End the work")
    def end_work(self, request: HttpRequest, queryset: QuerySet[Instance]) -> HttpResponse | None:
        return self._work(request, queryset, "end_work", "")

    def _work(self, request: HttpRequest, queryset: QuerySet[Instance], action: str, work: str) -> HttpResponse | None:
        actor = platform_actor(request)

        def effects(rows: Sequence[Any]) -> list[tuple[str, str]]:
            return [(one.instance.name, one.text) for one in work_effects(rows, work)]

        def apply(row: Any, reason: str) -> object:
            if not work:
                return services.instance_work_clear(actor=actor, instance_key=row.key)
            return services.instance_work_set(actor=actor, instance_key=row.key, work=Work(work), reason=reason)

        return confirmed_action(
            self, request, queryset.select_related(*self.list_select_related).order_by("key"), action=action,
            title=TITLES[work], effects=effects, apply=apply, asks_reason=bool(work),
        )  # fmt: skip
