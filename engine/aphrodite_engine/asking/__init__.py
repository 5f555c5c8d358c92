"""Questions to a model beyond "go on": what comes next, how likely a text is."""
