"""The views of report.html: each file draws one, from a `Comparison`, as a PNG."""
