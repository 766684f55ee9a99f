"""The primitives of the rules for torch: tensors, lists of tensors, rows of a matrix, words."""
