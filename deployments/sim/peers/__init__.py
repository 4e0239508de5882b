"""What comparable systems do, as policies of `deployments.sim.grid`: one family a file, many targets side by side.

Each is the vendor's published rule with its published timing and limits, and nothing else: min and max are the grid's.
A target is the requests in flight (queued and running) that a replica is to have, one a lane. Where a rule averages,
it averages the samples of its window, and what is younger than the window averages what there is.
"""
