"""Decisions of the past run again: passes are recorded as they went in and came out (`recorded`, `records`), and any
decision is made once more from them or from its own row (`again`)."""
