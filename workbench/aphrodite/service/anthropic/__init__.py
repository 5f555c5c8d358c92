"""Routes in the shape of Anthropic's Messages API."""
