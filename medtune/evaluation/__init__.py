"""Evaluation shared by all tasks: metrics, confidence intervals, the gate and reports."""
