"""The scaling loop: sample, snapshot, plan, record, apply; and the roll-up of what was sampled."""
