"""Discrimination-aware selection (DCP, DKP): layer by layer, against heads of its own."""
