"""What a factory was given besides numbers, and what of it can be pickled."""

from __future__ import annotations

import pickle
from typing import Any


class Special(dict):
    """Arguments of a factory that are no numbers: shared by copies, named where not picklable."""

    def __deepcopy__(self, memo: Any) -> Special:
        return Special(self)

    def __reduce__(self) -> Any:
        for name, value in self.items():
            require_picklable(value, f"the hyperparameter {name}={value!r}", "")
        return Special, (dict(self),)


def require_picklable(value: Any, what: str, advice: str) -> None:
    """Raise PicklingError that says what cannot be pickled, and how it could."""
    try:
        pickle.dumps(value)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise pickle.PicklingError(
            f"{what} cannot be pickled ({error}): define functions at the top level of a module. "
            + advice
        ) from error
