"""Programs: each parses flags and calls genaug."""
