"""Tracing: arrays and numbers that represent the real ones while a step is recorded.

Files, each importing only those before it:

- tracer_operators, tracer: the tracer array; number_arithmetic, traced_number: traced Python numbers
- opaque: calls of any function, and views; numpy_functions, minigrad_functions: handlers of functions, and what they
  do with operands; number_operands: traced numbers beside arrays
- elements: indexing, casts, writes; recorded_ufuncs; generators: tracer Generators, draws, and their states
- outside: arrays from outside the step; provenance: what each op is for, and the warning about float64
- trace: the recording; traced_builtins: `type`, `float`, `print` and others as a recorded step sees them
"""
