"""What is seen: the panels of the dock widget."""
