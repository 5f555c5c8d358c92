"""`%load_ext aphrodite`: the magics."""
