"""The numba back end: kernels, compiled by another process.

- legalize: a program in the form that kernels need; fusion: which ops run together; numba_backend: the program with
  kernels, and its source
- loops: statements and loops as data, with transforms and a printer; lowering: the loop nests of a kernel as such;
  kernel_source: its function; expressions: what an op computes for one element
- vecmath: what kernels import: exp, log, tanh and others; threads: parallel chunks of rows
- worker: the processes that compile kernels; files: compiled kernels; store: their files
- winograd: convolutions of many channels with fewer products
"""
