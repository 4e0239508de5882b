"""The FOCUS 1.2 export: what was used, hour by hour, unrounded, in the columns of the FinOps cost and usage format (B7)."""
