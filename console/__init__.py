"""The console: settings, sign-in, dashboards and the one-command stack."""
