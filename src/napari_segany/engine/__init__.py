"""Floor 2: one request to its prediction. The service, the worker process, embeddings, and the file of a session."""
