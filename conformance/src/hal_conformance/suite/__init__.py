"""The tests, one module for each profile. Each test names the clauses that it decides."""
