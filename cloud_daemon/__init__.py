"""The cloud daemon: executes the tails of frames and returns the answers."""
