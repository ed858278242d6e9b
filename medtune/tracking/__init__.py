"""Experiment tracking with Weights & Biases. No other package imports wandb."""
