"""What a request forbids or ends at, beyond what single logits can say."""
