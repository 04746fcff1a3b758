"""Floor 4: the only Qt, and the threads that keep the window responsive."""
