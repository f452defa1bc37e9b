# `just TASK`; `.ci/setup` makes .venv first.

bin := ".venv/bin"

# What there is
default:
    @just --list

# The demo, with a sign-in link
demo *flags:
    {{bin}}/rowfall demo {{flags}}

# The demo on this computer without signing in
dev *flags:
    {{bin}}/rowfall demo --auth none {{flags}}

# All tests
test *flags:
    {{bin}}/pytest {{flags}}

# The tests without a browser
unit *flags:
    {{bin}}/pytest tests/unit {{flags}}

# The tests in the browsers
e2e *flags:
    {{bin}}/pytest tests/e2e {{flags}}

# Nodes that are killed, stopped and woken for ten minutes, and whether every report is right
chaos *flags:
    {{bin}}/python tests/faults/chaos.py {{flags}}

lint:
    {{bin}}/ruff check . && {{bin}}/ruff format --check .

types:
    {{bin}}/mypy

# All that has to be right before a commit
check: lint types test

# The speed, measured
bench *flags:
    {{bin}}/python bench/run.py {{flags}}
