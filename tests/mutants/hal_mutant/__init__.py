"""A backend that is the host's, broken in one place: the one that the environment variable MUTANT names."""
