"""Layer 5: label-free scores for choosing a checkpoint or a trial. One file each; higher is better."""
