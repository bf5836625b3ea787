"""HAL's transports beside what they stand on: RDMA beside perftest, TCP beside a socket and gloo."""
