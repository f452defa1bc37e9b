"""`python -m app` is the `rowfall` command."""

from app.cli import main

main()
