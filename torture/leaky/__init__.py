"""Sets whose patients, pixels or near-copies lie on both sides of a split."""
