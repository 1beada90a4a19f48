"""Tables of many trained models: what is compared, in stages that are computed once."""
