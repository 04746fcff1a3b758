"""What is set in motion: between panels, the session, the worker and the layers."""
