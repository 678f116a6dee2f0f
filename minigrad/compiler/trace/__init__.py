"""Tracing: arrays and numbers that stand for the real ones while a step is recorded.

- tracer: the tracer array; generator: the tracer Generator; numbers: traced Python numbers; unread_grads: what stands
  in `.grad` while nobody has read it; stand_ins: builtins as a recorded step sees them; artifact: exceptions of
  tracers
- trace: NumPy calls on tracers become ops; access: of elements; writes: what a memory holds after one; ufuncs,
  functions: of NumPy's; opaque: of all others; through: Python's functions of numbers; generator_states: where
  generators stand
- outside: arrays from outside of the step; records: objects that are known by what they hold; promotion: the warning
  about float64; provenance: what each operation is for
"""
