"""What results look like: Markdown for the README, one HTML page for people."""
