"""The channel between edge and cloud; docs/protocol.md is its specification."""
