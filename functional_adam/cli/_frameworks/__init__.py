"""Optimizers of frameworks that do not install here, from their published source, in float64.

One framework, one file, named as its rows of the conformance table are. Each function is one step
of one array, written from the file that its docstring names and in its order of operations; nothing
is imported from the package or from another of these files, so an error cannot hide in both. `t`
counts from 1; moments are given and returned as the source keeps them, uncorrected unless said
otherwise. Like the rest of the package they compute; they do not check.
"""
