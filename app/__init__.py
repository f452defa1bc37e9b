"""Rowfall: any table, view or saved query as a report that streams into the page."""
