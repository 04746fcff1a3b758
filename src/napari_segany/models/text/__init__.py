"""Text prompts: towers of CLIP, the head that turns their vectors into prompt tokens, and what joins both to a segmenter."""
