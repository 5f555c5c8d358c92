"""OpenAI's shapes: one route a file."""
