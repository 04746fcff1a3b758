"""Decoders of micro-sam: automatic instance segmentation next to SAM (Archit et al. 2025)."""
