from django.urls import path

from claims.api import views

urlpatterns = [
    path("capacityclaims", views.ClaimsView.as_view(), name="api-claims"),
    path("capacityclaims/parameters", views.ClaimParametersView.as_view(), name="api-claim-parameters"),
    path("capacityclaims/<str:id>", views.ClaimView.as_view(), name="api-claim"),
]
