from django.apps import AppConfig


class OrganizationsConfig(AppConfig):
    name = "console.organizations"
    label = "organizations"
