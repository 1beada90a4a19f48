"""Work outside training: augmented copies, contact sheets, and compression, restoration, ... by trained networks."""
