"""The numba back end: kernels, compiled by another process.

- legalize: a program as kernels want it; fusion: which operations run together; ops: the program with kernels;
  numba_backend: its source
- loops: a kernel as a function of loops, from its nests, walks over rows and expressions; vecmath: exp, log, tanh,
  erf for them; noalias: an option of numba's; threads: ranges of rows at the same time
- worker: the process that compiles them; files: compiled kernels; store: the files that keep them
- winograd: convolutions of many channels with fewer products
"""
