from django.urls import path

from deployments.api import v1

urlpatterns = [
    path("deployments/<str:id>/decisions", v1.DecisionsView.as_view(), name="api-decisions"),
    path("deployments/<str:id>/signals", v1.SignalsView.as_view(), name="api-signals"),
    path("deployments/<str:id>/replicas", v1.ReplicasView.as_view(), name="api-replicas"),
]
