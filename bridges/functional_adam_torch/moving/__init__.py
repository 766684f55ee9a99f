"""A run on its way between torch and JAX, and what it is in between."""
