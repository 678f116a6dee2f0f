"""The engine: nodes, primitives and their generated calls, the tape and the walk backwards."""
