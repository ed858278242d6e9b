"""What stage 2 trains, one method a file: registry key = file name."""
