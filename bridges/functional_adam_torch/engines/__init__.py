"""From a param group to a step: what is stepped, by which scalars, and where it is computed."""
