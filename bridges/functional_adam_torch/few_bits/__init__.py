"""Moments and weights in few bits: how they are stored, stepped, saved and loaded."""
