"""Records -> what a person reads: a terminal's tables, figures, one HTML page."""
