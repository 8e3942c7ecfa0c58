"""Show records to people: tables in a terminal, figures, and one HTML page."""
