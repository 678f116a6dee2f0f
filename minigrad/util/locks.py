"""The lock of what all threads share: gradients of leaves, and the registries of primitives, hooks and changes.

It is held for a few instructions, or for one addition of arrays, and nothing inside it waits for another lock, so it
cannot be part of a deadlock. A fork takes it first: a child never finds a registry half changed, nor the lock taken by
a thread that it does not have.
"""

from __future__ import annotations

import os
import threading

LOCK = threading.RLock()  # reentrant: a finalizer that runs inside may come back

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=LOCK.acquire, after_in_parent=LOCK.release, after_in_child=LOCK.release)
