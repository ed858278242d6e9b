"""Stages of the pipeline, with one public function `run` per stage. They do not use Prefect."""
