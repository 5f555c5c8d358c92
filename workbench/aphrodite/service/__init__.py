"""The service: an HTTP front that outlives notebooks, and an engine process for each model that it keeps alive."""
