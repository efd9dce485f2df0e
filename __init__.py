"""evermap: a continual-learning agent simulator."""

__version__ = "0.1.0"
