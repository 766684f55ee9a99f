"""Parts of `functional-adam tune`, `report`, `code` and `compare`."""
