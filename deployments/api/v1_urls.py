from django.urls import path

from deployments.api import (
    claims,
    decisions,
    events,
    explanation,
    holds,
    previews,
    schedules,
    shadow,
    sizing,
    v1,
    windows,
)

urlpatterns = [
    path("deployments/<str:id>/decisions", v1.DecisionsView.as_view(), name="api-decisions"),
    path("deployments/<str:id>/signals", v1.SignalsView.as_view(), name="api-signals"),
    path("deployments/<str:id>/replicas", v1.ReplicasView.as_view(), name="api-replicas"),
    path("deployments/<str:id>/replicas/<str:key>/restart", v1.RestartView.as_view(), name="api-replica-restart"),
    path("deployments/<str:id>/explanation", explanation.ExplanationView.as_view(), name="api-explanation"),
    path("deployments/<str:id>/schedules", schedules.SchedulesView.as_view(), name="api-schedules"),
    path("deployments/<str:id>/schedules/<str:schedule>", schedules.ScheduleView.as_view(), name="api-schedule"),
    path("deployments/<str:id>/shadow", shadow.ShadowView.as_view(), name="api-shadow"),
    path("decisions", decisions.AllDecisionsView.as_view(), name="api-all-decisions"),
    path("decisions/<str:id>", decisions.DecisionView.as_view(), name="api-decision"),
    path("decisions/<str:id>/replay", decisions.ReplayView.as_view(), name="api-decision-replay"),
    path("capacityclaims/<str:id>/preview", previews.ClaimPreviewView.as_view(), name="api-claim-preview"),
    path("claims", claims.ClaimsView.as_view(), name="api-own-claims"),
    path("claims/<str:id>", claims.ClaimView.as_view(), name="api-own-claim"),
    path("claims/<str:id>/sizing", sizing.SizingView.as_view(), name="api-claim-sizing"),
    path("claims/<str:id>/windows", windows.WindowsView.as_view(), name="api-claim-windows"),
    path("claims/<str:id>/windows/<str:window>", windows.WindowView.as_view(), name="api-claim-window"),
    path("claims/<str:id>/calendar", windows.ClaimCalendarView.as_view(), name="api-claim-calendar"),
    path(
        "capacity/<str:zone>/<str:instance_type>/calendar",
        windows.PoolCalendarView.as_view(),
        name="api-pool-calendar",
    ),
    path("events", events.EventsView.as_view(), name="api-events"),
    path("holds", holds.HoldsView.as_view(), name="api-holds"),
    path("holds/<str:id>", holds.HoldView.as_view(), name="api-hold"),
]
