"""From the finished cells of the PEFT benchmark to results.csv and report.html."""
