"""torch's learning-rate schedulers as pure functions of the count."""
