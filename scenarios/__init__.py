"""Scenarios: recipes, the run loop, its record and its measures."""
