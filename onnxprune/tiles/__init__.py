"""Tile patterns: which blocks of a weight stay, how they are permuted and packed."""
