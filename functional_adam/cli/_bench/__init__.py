"""One step of Adam, ours and others', measured in one process: time, memory, growth."""
