"""Joining predictions with labels that come later, earlier, twice, corrected or never."""
