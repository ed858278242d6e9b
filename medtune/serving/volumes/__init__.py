"""CT and MR volumes: reading, geometry and writing, identical for training and prediction."""
