"""What results look like: one HTML page for people, Markdown tables for the READMEs."""
