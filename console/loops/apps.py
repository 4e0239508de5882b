from django.apps import AppConfig


class LoopsConfig(AppConfig):
    name = "console.loops"
    label = "loops"
