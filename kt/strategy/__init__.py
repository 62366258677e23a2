"""Work that is made of runs: what to transfer, how much, and whether it helped."""
