"""The embedded data set: drawn tissue."""
