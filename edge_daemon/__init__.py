"""The edge daemon: takes frames in, runs their heads, has the cloud run the tails, and moves the cut."""
