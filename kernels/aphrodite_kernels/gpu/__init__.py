"""The Triton kernels, a file an op, each with its launcher; the op's own file has the checks and calls it.

They are files of their own because they import Triton at their top: that takes a second which the CPU never needs, and
there are systems without Triton. An op imports its file here when it first runs on a GPU.
"""
