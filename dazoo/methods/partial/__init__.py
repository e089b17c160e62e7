"""Methods for targets that hold only some of the source's classes."""
