"""Measurements. Everything is a ratio to a peer in the same run: these tell, absolute times do not."""
