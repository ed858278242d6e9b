"""Shared building blocks of PEFT methods."""
