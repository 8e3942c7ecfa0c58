"""Membership attacks, one a file, with the classifier and the search that they share."""
