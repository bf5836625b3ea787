"""What it costs to prove a plan: time and memory as ranks and instructions grow."""
