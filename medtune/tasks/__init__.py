"""One package per task (classification, ...): what a target, a metric and a report are."""
