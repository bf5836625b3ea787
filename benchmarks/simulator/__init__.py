"""What the simulator predicts for this host, beside what the host backend measures."""
