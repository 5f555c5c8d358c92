"""From logits to a token: hard constraints, the request's own list of steps, one counter-based draw."""
