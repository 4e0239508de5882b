"""Money counted again, second by second, with nothing of the ledger, the rating or the meter: `manage.py recount`."""
