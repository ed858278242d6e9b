"""Benchmarks of speed and memory: the commands whose results docs/performance.md reports."""
