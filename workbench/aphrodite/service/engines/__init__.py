"""An engine process for each model: both ends of it, and who keeps it alive."""
