"""Triton kernels for GPUs, installed as `zen_fast.kernels`; never imported on the CPU path."""
