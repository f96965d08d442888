"""Benchmarks: protocols with baselines in the same run, and the object they print."""
