"""Volumes (CT and MR): reading, preparation and prediction, identical for training and prediction."""
