"""Tasks, the sources and streams they come from, and what a learner may know of them."""
