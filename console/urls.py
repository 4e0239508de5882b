"""Every address of the console and the API."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from console.dashboard.views import api
from console.dashboard.views.session import sign_in_first

handler404 = "console.dashboard.faults.not_found"
handler500 = "console.dashboard.faults.fault"

urlpatterns = [
    path("", include("console.stack.urls")),
    path("", include("console.dashboard.urls")),
    path("favicon.ico", RedirectView.as_view(url="/static/img/mark.svg")),
    path("admin/login/", sign_in_first),
    path("admin/", admin.site.urls),
    path("v1alpha1/inference/", include("claims.api.urls")),
    path("v1alpha1/inference/", include("deployments.api.urls")),
    path("api/v1/", include("console.organizations.api.urls")),
    path("api/v1/", include("console.notifications.api.urls")),
    path("api/v1/", include("claims.api.v1_urls")),
    path("api/v1/", include("deployments.api.v1_urls")),
    path("api/schema/", api.schema, name="schema"),
    path("api/docs/", api.docs, name="api-docs"),
]
