"""Encoders: networks from inputs to features, one per file."""
