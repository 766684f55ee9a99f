"""A run from one framework to another in the middle of training: parameters, moments, position."""

from ._keras import FromKeras as FromKeras
from ._keras import from_keras as from_keras
from ._keras import to_keras as to_keras
from ._optax import from_optax as from_optax
from ._optax import to_optax as to_optax
