"""Strategies: ways to learn one task from what is known, one per file."""
