"""Scheduled windows of min and max: when a deployment has other bounds, again and again (docs/schedules.md)."""
