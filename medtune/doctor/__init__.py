"""Preflight checks for a run: one module per subject, one line per check."""
