"""Data sources, one file per source. The file name is the value of `data.source`."""
