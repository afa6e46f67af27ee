"""Benchmarks of the page: what it costs the browser (`drawing`) and the agent (`followers`)."""
