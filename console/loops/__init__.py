"""The loop table: when each periodic pass last started and ended (DESIGN W4)."""
