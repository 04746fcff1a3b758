"""`tiny`, the model in the wheel: its encoder, its magnified crops, and what turns its output into masks."""
