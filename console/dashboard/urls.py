from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from console.dashboard import stream
from console.dashboard.views import (
    audit,
    capacity,
    charts,
    claims,
    deployments,
    gateways,
    members,
    overview,
    quota,
    session,
    tokens,
)

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("accounts/sign-in", LoginView.as_view(redirect_authenticated_user=True), name="sign-in"),
    path("accounts/sign-out", LogoutView.as_view(), name="sign-out"),
    path("accounts/organization", session.switch_organization, name="switch-organization"),
    path("accounts/organizations", session.organization_list, name="organizations"),
    path("late", overview.late, name="late"),
    path("events", stream.events, name="events"),
    path("deployments", deployments.deployment_list, name="deployments"),
    path("deployments/new", deployments.deployment_new, name="deployment-new"),
    path("deployments/<uuid:id>", deployments.deployment_page, name="deployment"),
    path("deployments/<uuid:id>/autoscaling", deployments.deployment_autoscaling, name="deployment-autoscaling"),
    path("deployments/<uuid:id>/switch", deployments.deployment_switch, name="deployment-switch"),
    path("deployments/<uuid:id>/delete", deployments.deployment_delete, name="deployment-delete"),
    path("claims", claims.claim_list, name="claims"),
    path("claims/new", claims.claim_new, name="claim-new"),
    path("claims/<uuid:id>", claims.claim_page, name="claim"),
    path("claims/<uuid:id>/resize", claims.claim_resize, name="claim-resize"),
    path("claims/<uuid:id>/withdraw", claims.claim_withdraw, name="claim-withdraw"),
    path("claims/<uuid:id>/delete", claims.claim_delete, name="claim-delete"),
    path("capacity", capacity.capacity, name="capacity"),
    path("quota", quota.quota, name="quota"),
    path("quota/<str:zone>/<str:type>", quota.quota_page, name="quota-of"),
    path("charts/quota/<str:zone>/<str:type>.json", quota.quota_chart, name="chart-quota"),
    path("gateways", gateways.gateway_list, name="gateways"),
    path("gateways/new", gateways.gateway_new, name="gateway-new"),
    path("gateways/<uuid:id>", gateways.gateway_page, name="gateway"),
    path("gateways/<uuid:id>/edit", gateways.gateway_edit, name="gateway-edit"),
    path("gateways/<uuid:id>/delete", gateways.gateway_delete, name="gateway-delete"),
    path("members", members.member_list, name="members"),
    path("members/<int:id>/role", members.member_role, name="member-role"),
    path("members/<int:id>/remove", members.member_remove, name="member-remove"),
    path("tokens", tokens.token_list, name="tokens"),
    path("tokens/new", tokens.token_new, name="token-new"),
    path("tokens/<uuid:id>/revoke", tokens.token_revoke, name="token-revoke"),
    path("audit", audit.audit, name="audit"),
    path("charts/fleet/replicas.json", charts.fleet, {"kind": "replicas"}, name="chart-fleet-replicas"),
    path("charts/fleet/queue.json", charts.fleet, {"kind": "queue"}, name="chart-fleet-queue"),
    path("charts/claims.json", charts.claims, name="chart-claims"),
    path("charts/spend.json", charts.spend, name="chart-spend"),
    path("charts/claims/<uuid:id>.json", charts.claim, name="chart-claim"),
    *(
        path(f"charts/deployments/<uuid:id>/{kind}.json", charts.deployment, {"kind": kind}, name=f"chart-{kind}")
        for kind in charts.KINDS
    ),
]
