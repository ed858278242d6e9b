"""Plots of report.html. Each module draws one plot of a `Comparison` as PNG."""
