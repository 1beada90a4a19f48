"""Studies of many trained models: tables, in stages that are computed once, and sweeps."""
