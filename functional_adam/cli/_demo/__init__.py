"""What `functional-adam demo` is made of: one network, three ways to train it, what they differ by.

`compare` runs the ways in lockstep, `verdict` holds the bounds, `picture`, `table` and `files` show
and keep the result.
"""
