from django.urls import path

from console.organizations.api import audit, members, tokens

urlpatterns = [
    path("tokens", tokens.TokensView.as_view(), name="api-tokens"),
    path("tokens/<str:id>", tokens.TokenView.as_view(), name="api-token"),
    path("members", members.MembersView.as_view(), name="api-members"),
    path("members/<str:name>", members.MemberView.as_view(), name="api-member"),
    path("audit", audit.AuditView.as_view(), name="api-audit"),
]
