"""Data sources, one file per source. The registry key is the file name."""
