"""One HTTP request from its connection to a checked structure, and its answer back."""
