"""Benchmarks of fastrbm against its peers; ``python -m benchmarks.run`` writes the table."""
