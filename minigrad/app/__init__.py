"""The program `minigrad`: its commands, the demonstration, and the notes."""
