"""Tests and measurements on whatever GPU is there, with that machine's own Python and nothing installed."""
