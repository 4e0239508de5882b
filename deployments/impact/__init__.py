"""What a change of capacity would do to what runs on it, before anybody makes it.

`forecast` is pure: it runs the planner over a snapshot in which the change has been made. `reader` makes that snapshot
and gives the answer names, `preview` adds instances, quota and price.
"""
