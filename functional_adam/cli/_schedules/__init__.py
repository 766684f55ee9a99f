"""The table of schedules: settings, each in torch, in optax and exactly, and what is between them.

`settings` says in which settings, `cases` makes ours of them, `in_torch` and `in_optax` the others'
and `exact` the truth; `plateau` is the one that has a state; `measure` compares them and `report`
writes the table. The tests hold every case to its bounds count by count.
"""
