"""Floor 1: the models, in torch. No napari, no Qt, no psygnal here; above this floor they are only Segmenters."""
