"""Measurements of speed and memory: the commands behind docs/performance.md."""
