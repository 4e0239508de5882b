from django.urls import path

from claims.api import budgets, expected, focus, history, instances, labels, quota_requests, statements, v1

urlpatterns = [
    path("quota", v1.QuotaView.as_view(), name="api-quota"),
    path("quota-requests", quota_requests.QuotaRequestsView.as_view(), name="api-quota-requests"),
    path("quota-requests/<str:id>", quota_requests.QuotaRequestView.as_view(), name="api-quota-request"),
    path(
        "quota-requests/<str:id>/withdraw",
        quota_requests.QuotaRequestWithdrawView.as_view(),
        name="api-quota-request-withdraw",
    ),
    path("capacity", v1.CapacityView.as_view(), name="api-capacity"),
    path("instances", instances.InstancesView.as_view(), name="api-instances"),
    path("instances/<str:name>", instances.InstanceView.as_view(), name="api-instance"),
    path("usage", v1.UsageView.as_view(), name="api-usage"),
    path("budgets", budgets.BudgetsView.as_view(), name="api-budgets"),
    path("focus", focus.FocusView.as_view(), name="api-focus"),
    path("statements", statements.StatementsView.as_view(), name="api-statements"),
    path("statements/<str:month>", statements.StatementView.as_view(), name="api-statement"),
    path("claims/<str:id>/expected", expected.ExpectedView.as_view(), name="api-claim-expected"),
    path("claims/<str:id>/labels", labels.ClaimLabelsView.as_view(), name="api-claim-labels"),
    path("claims/<str:id>/history", history.HistoryView.as_view(), name="api-claim-history"),
]
