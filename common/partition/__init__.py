"""Where to cut: pure mathematics over graphs and times, no clocks, no sockets, no torch."""
