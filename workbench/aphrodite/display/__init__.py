"""Results as people look at them: text, tables, tokens shaded by probability."""
