"""Statistics, results.csv and report.html from the finished trials of the benchmark."""
