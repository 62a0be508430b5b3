"""Actions of the fault tests' assistant."""
