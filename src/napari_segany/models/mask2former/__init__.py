"""Mask2Former: queries that find objects, draw them and name them (Cheng et al. 2022, arXiv:2112.01527)."""
