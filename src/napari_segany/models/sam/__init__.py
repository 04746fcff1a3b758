"""The Segment Anything Model (Kirillov et al. 2023), under the parameter names of its published checkpoints."""
