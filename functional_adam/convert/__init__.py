"""A run from one framework to another in the middle of training: parameters, moments, position."""

from ._optax import from_optax as from_optax
from ._optax import to_optax as to_optax
