"""The page's tabs, one a file: `build(...)` draws it, the other functions are its handlers and know no Gradio."""
