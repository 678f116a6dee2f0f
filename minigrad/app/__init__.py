"""The program `minigrad`: its commands, the demo, and the experiments of the notes."""
