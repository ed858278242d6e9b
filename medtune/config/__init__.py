"""Params: schema, loading, plugin registry and user-facing errors."""
