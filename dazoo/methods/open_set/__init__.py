"""Methods for targets with classes that the source lacks, and scores of being unknown."""
