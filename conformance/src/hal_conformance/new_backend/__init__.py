"""`hal new-backend`: a package in which every primitive is a stub that says what it has to fulfil.

The files are templates in `templates/`, rendered by Jinja; which clauses belong to which primitive is in
`primitives.yaml`.
"""
