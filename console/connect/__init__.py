"""The vendor's services over the Connect protocol, beside Django in one ASGI application (docs/decisions/0014)."""
