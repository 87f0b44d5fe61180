"""`lenet doctor`: checks the house and says what to do about each finding; it never changes anything."""
