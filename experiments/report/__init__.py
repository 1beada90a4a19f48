"""Presentation of results: an HTML page of runs, and Markdown tables for the READMEs."""
