"""Many trainings of a torch module as one."""
