"""What ``experiments.benchmark`` compares, and the libraries it compares with."""
