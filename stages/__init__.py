"""One public `run` a stage; none knows of Prefect."""
