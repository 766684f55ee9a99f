"""The conformance table: what is compared with what, the inputs, the measures and the bounds.

`rows` says what there is to compare, `inputs` on which numbers; `in_torch`, `in_jax` and `in_numpy`
run one algorithm each in its own framework behind the same three methods; `measure` steps them
side by side, `figures` puts numbers on the differences, `bounds` says how large they may be, and
`report` prints them. Nothing here knows a formula.
"""
