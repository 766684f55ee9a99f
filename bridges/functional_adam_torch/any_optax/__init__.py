"""What `OptaxOptimizer` is made of: any optax transformation on torch's parameters."""
