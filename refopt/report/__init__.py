"""What people are shown: verdicts, the matrix and the pages of the specification, as text."""
