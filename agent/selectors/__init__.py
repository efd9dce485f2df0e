"""Selectors: ways to choose the strategy and the source for a task, one per file."""
