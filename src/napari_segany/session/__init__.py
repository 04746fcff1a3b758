"""Floor 1: the state of one annotation and what keeps it. No torch, no napari, no Qt."""
