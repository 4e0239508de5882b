from django.urls import path

from console.notifications.api import views

urlpatterns = [
    path("notifications", views.NotificationsView.as_view(), name="api-notifications"),
    path("notifications/<str:id>", views.NotificationView.as_view(), name="api-notification"),
    path("webhooks", views.WebhooksView.as_view(), name="api-webhooks"),
    path("webhooks/<str:id>", views.WebhookView.as_view(), name="api-webhook"),
    path("webhooks/<str:id>/secret", views.WebhookSecretView.as_view(), name="api-webhook-secret"),
    path("webhooks/<str:id>/test", views.WebhookTestView.as_view(), name="api-webhook-test"),
    path("deliveries", views.DeliveriesView.as_view(), name="api-deliveries"),
    path("deliveries/<str:id>", views.DeliveryView.as_view(), name="api-delivery"),
    path("deliveries/<str:id>/replay", views.ReplayView.as_view(), name="api-delivery-replay"),
]
