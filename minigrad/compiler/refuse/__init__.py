"""What no recording can show: noticed before or while a step is recorded, and refused with the place.

caught: exceptions that the step catches; system: calls that no program would repeat; foreign: code in C; handed: what
it is handed; operands: what an instruction works on; questions: that C code asks about a tracer; untracked: draws
that no tracer saw.
"""
