"""One step on the device: chunks in, drawn tokens out."""
