"""Prefect: what runs when, and what need not run."""
