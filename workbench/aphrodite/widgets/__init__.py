"""Widgets for notebooks, each one's Python and JavaScript side by side; where none can run, each is HTML."""
