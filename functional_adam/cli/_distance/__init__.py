"""How far the frameworks are from one another, and from ours: the reason for dialects.

`problem` is what all of them train, `entries` who takes part, `runs` trains in JAX, torch and
Keras, `measure` compares where they get to and `report` writes the tables.
"""
