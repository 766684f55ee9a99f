"""What low precision costs and saves: memory, time and the loss that training ends at."""
