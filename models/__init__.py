"""Torch models as graphs of units: loading, tracing, segments, executors, measuring."""
