"""The lock for state that all threads share: gradients of leaves, and the registries of primitives, hooks and changes.

It is held for a few instructions, or for one addition of arrays, and code that holds it waits for no other lock, so it
cannot be part of a deadlock. A fork acquires it first, so that in the child no registry is half changed, and no thread
that does not exist there holds the lock.
"""

from __future__ import annotations

import os
import threading

LOCK = threading.RLock()  # reentrant: a finalizer that runs inside may acquire it again

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=LOCK.acquire, after_in_parent=LOCK.release, after_in_child=LOCK.release)
