"""Rowfall: any table, view or saved query as a report that streams into the page."""

from importlib.metadata import version

__version__ = version("rowfall")
