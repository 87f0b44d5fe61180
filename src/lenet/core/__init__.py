"""Errors, project paths, atomic files, locks and processes: what every other part stands on."""
