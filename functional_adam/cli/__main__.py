"""`python -m functional_adam.cli`, the same as `functional-adam`."""

from . import main

if __name__ == "__main__":
    main()
