"""Methods that choose which target samples are labelled."""
