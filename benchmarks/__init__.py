"""Measuring Cleave: the emulated link, demo frames and baselines."""
