"""Sources that are read from files: published data sets as their users have them, and the user's own data."""
