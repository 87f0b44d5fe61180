"""`lenet doctor`: checks the project and gives a remedy for each finding; it never changes anything."""
