"""Every address of the console and the API."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("console.stack.urls")),
    path("admin/", admin.site.urls),
    path("v1alpha1/inference/", include("claims.api.urls")),
    path("v1alpha1/inference/", include("deployments.api.urls")),
    path("api/v1/", include("claims.api.v1_urls")),
    path("api/v1/", include("deployments.api.v1_urls")),
]
