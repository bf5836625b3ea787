"""HAL over RDMA: InfiniBand and RoCE, through libibverbs."""
