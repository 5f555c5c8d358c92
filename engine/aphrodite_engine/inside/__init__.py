"""What research looks at and pushes inside a model: hidden states, the logit lens, steering."""
