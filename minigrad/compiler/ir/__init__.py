"""The intermediate representation: programs of ops, what they compute, and how they are rewritten.

- program: ops in single assignment; typing: the shapes and dtypes that NumPy gives, and the checker of programs;
  operations: what ops compute
- rewriter: programs built again through rules; patterns: the left sides of rules that are equations; predicates: of
  values
- view_memory: memories, views as steps, and where an array lies in the memory of another
- checks: which checks of values are needed, and when
- kernel: ops that run together, and in which loops; pysyntax: names, numbers and indices as Python source
- evaluate: the values of programs on random inputs, as exact arrays
"""
