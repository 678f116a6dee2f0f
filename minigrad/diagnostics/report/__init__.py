"""The report of a watch: checks that yield findings, and how they are shown."""
