"""The compiler of whole steps: `mg.compile`. See docs/compile.md."""
