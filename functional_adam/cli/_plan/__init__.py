"""What training holds in memory: per parameter, and on each of many devices."""
