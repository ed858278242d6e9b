"""Preflight checks for a long run: one file per subject, one line per check."""
