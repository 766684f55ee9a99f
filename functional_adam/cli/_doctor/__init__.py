"""The rooms of `functional-adam doctor`: what a checkpoint holds, and what is wrong with it."""
