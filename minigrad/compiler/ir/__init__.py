"""The intermediate representation: programs of operations, what they mean, and their memory.

- program: ops in single assignment; typing: what NumPy says about them, and the checker; builder: programs built
  again, operation by operation; predicates: questions about values; names: for values, as the user would call them
- evaluate: what programs compute; samples: their random inputs; difference: which op is wrong; checks: which checks
  of values are needed, and when
- view_memory: memories, views as steps; layout: where in a memory an array lies
- kernel: what runs together as loops; schedule: in which loops each operation runs; costs: which take long
- pysyntax: shapes, slices, indices and numbers as Python writes them
"""
