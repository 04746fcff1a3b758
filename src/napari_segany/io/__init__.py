"""Floor 1: files. Images, labels, tables and the formats of other programs. No models, no napari, no Qt."""
