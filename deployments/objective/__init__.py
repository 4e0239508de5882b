"""Objective mode as it runs: what an operator wants served, chosen for by replaying the deployment's own recorded demand
(docs/objective.md)."""
