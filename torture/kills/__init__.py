"""SIGKILL at any moment, and what lies there afterwards."""
