"""Floor 2: between napari's layers and the session. `napari.layers` and `ViewerModel` only; no Qt, no torch."""
