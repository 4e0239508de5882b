"""Notifications: what happened, told by webhook and e-mail to whom wants to know.

Whoever knows that something happened calls `services.notify`; a loop sends it on, again and again until it is received.
"""
