"""Our operations against those of other libraries: who has what, and how fast."""
