"""Statements: what an organization pays for a month, fixed on the third day of the next one (B6)."""
