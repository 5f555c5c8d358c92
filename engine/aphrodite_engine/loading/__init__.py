"""From the name of a model to an engine ready to step, and the memory that this takes and gives back."""
