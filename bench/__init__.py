"""`make bench`: measures the bars of the product on this machine and writes docs/performance.md.

Each bench returns rows (a list of dicts); they are kept in `bench/results/NAME.json`. `ONLY=name,name` runs some.
"""
