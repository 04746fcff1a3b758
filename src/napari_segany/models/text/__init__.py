"""Text prompts: towers of CLIP, the head that turns their vectors into prompt tokens, and their link to SAM."""
