"""What if: traffic that was recorded, a policy, and what would have come of it. The pages of this come later; scripts
have `manage.py backtest`."""
