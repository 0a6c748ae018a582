"""What the commands beside this folder have in common."""
