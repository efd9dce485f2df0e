"""Formats of data files, read with care: what is in them is data, and what is damaged is named."""
