"""What the service keeps: responses, conversations, files and batches, in one SQLite file and a folder beside it."""
