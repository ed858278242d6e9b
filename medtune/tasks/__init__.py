"""Tasks, one package each. A task defines its targets, loss, metrics and report."""
