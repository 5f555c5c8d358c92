"""The playground in the browser; `python -m aphrodite_apps.dashboard` is the process that the service starts for it."""
