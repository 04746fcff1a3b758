"""The paper's zero-shot tables and ours: each a function from labelled images to rows of numbers."""
