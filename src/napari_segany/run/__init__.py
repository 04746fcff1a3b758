"""Floor 2: models, session and core put together for one object, a stack, a file. No napari, no Qt."""
