"""Artifacts, cache keys, paths, devices, locks and progress of runs."""
