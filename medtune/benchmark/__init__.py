"""Comparison of methods: grid, cells, statistics and report."""
