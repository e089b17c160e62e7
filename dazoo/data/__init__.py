"""Layer 2: domains, tasks, splits and loaders. One file per dataset family under ``sets/``.

Loaders return immutable domains; nothing here trains or looks at a method.
"""
