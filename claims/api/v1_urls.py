from django.urls import path

from claims.api import v1

urlpatterns = [
    path("quota", v1.QuotaView.as_view(), name="api-quota"),
    path("capacity", v1.CapacityView.as_view(), name="api-capacity"),
    path("usage", v1.UsageView.as_view(), name="api-usage"),
]
