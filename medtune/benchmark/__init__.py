"""Comparison of methods: grid, trials, statistics and report."""
