from django.urls import path

from deployments.api import views

urlpatterns = [
    path("deployments", views.DeploymentsView.as_view(), name="api-deployments"),
    path("deployments/parameters", views.DeploymentParametersView.as_view(), name="api-deployment-parameters"),
    path("deployments/<str:id>", views.DeploymentView.as_view(), name="api-deployment"),
    path("gateways", views.GatewaysView.as_view(), name="api-gateways"),
    path("gateways/parameters", views.GatewayParametersView.as_view(), name="api-gateway-parameters"),
    path("gateways/<str:id>", views.GatewayView.as_view(), name="api-gateway"),
]
