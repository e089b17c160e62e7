"""Methods for targets that are never seen: what several labelled domains have in common is to hold in a further one.

Defaults are those of DomainBed (Gulrajani, Lopez-Paz, ICLR 2021), with numbers of steps as fractions of its 5,000.
"""
