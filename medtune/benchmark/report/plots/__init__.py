"""The views of report.html: each file draws one, from a `Judged`, as a PNG."""
