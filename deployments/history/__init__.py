"""History made afterwards: the same planner and simulator tell what a day of deployments would have been like that are
new, so that charts and decisions have something to show. It is labelled as such wherever it is shown, and nothing of it
reaches the ledger (docs/decisions/0007)."""
