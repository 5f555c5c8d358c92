"""The skills of the demo model, one file each: every file makes questions with checkable answers."""
