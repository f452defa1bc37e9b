# List the tasks
default:
    @just --list

# Build the demo database, serve it, print a link
demo:
    .venv/bin/rowfall demo

# Serve the demo on this computer without signing in
dev:
    .venv/bin/rowfall demo --auth none

# All tests
test *args:
    .venv/bin/pytest {{ args }}

unit *args:
    .venv/bin/pytest tests/unit {{ args }}

# In Chromium, Firefox and WebKitGTK; one of them: just e2e --browser firefox
e2e *args:
    .venv/bin/pytest tests/e2e {{ args }}

lint:
    .venv/bin/ruff check
    .venv/bin/ruff format --check

types:
    .venv/bin/mypy

# All that must pass before a change lands
check: lint types test

# Measure, and write bench/RESULTS.md
bench:
    .venv/bin/python bench/run.py
