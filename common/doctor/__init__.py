"""What an installation can get wrong: facts gathered by thin probes, judged by pure checks, told with their cure."""
