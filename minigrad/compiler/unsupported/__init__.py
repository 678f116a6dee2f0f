"""What no recording can show: found before or while a step is recorded.

Files, each importing only those before it: system_calls (calls that no program would repeat), static_checks (what the
step can reach that cannot be recorded), exceptions (that are about tracers), untracked_randomness.
"""
