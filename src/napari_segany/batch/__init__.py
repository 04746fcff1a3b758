"""Floor 3: whole files and folders, replay and clusters. Composes core, engine and io. No napari, no Qt."""
