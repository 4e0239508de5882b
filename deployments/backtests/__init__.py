"""What if, in the product: recorded demand of a deployment or an uploaded trace, several settings side by side, run by a
bulk worker with progress and cancel; results are rows with an address (docs/backtests.md)."""
