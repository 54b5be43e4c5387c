"""What goes wrong: faults, disturbances, paces, what holds the armed ones, and the storm. Knows no bank data."""
