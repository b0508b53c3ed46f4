"""Sinks: who is told of records beside the results file, and the frames with their labels drawn."""
