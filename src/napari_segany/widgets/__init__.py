"""Floor 3: the only Qt. What is seen and clicked, and the threads that keep it fluent."""
