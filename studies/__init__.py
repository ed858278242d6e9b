"""Studies of accuracy and of statistical coverage: the commands behind the tables in docs."""
