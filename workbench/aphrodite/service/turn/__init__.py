"""One assistant turn in no protocol's words: what is asked, and how a model's text becomes thoughts, calls and text."""
