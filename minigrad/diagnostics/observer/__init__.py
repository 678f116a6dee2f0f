"""What is measured while a model runs: layers, parameters, and streaming statistics of both."""
