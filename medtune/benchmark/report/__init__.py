"""From the finished trials of the PEFT benchmark to results.csv and report.html."""
