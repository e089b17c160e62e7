"""Layer 4: the methods. One file per method, the file stem is the registry name, the folder is the family.

A method knows ``core``, ``ops`` and ``nets.parts``, and nothing of datasets, trainers, suites or reports.
"""
