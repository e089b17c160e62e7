"""What a suite means: its file, its runs, trials and representations."""
