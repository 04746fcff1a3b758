"""The panels of the dock widget."""
