"""The rooms of `functional-adam convert`: a reader and a writer for each format."""
