"""Programs on top of the workbench: the command line; later the dashboard and deployment."""
