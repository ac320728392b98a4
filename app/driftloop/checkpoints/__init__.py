"""The state of source partitions on local disk: pending rows that memory does not hold, checkpoints to restart from."""
