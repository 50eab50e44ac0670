"""What is computed from tables in Python, where SQL cannot say it well."""
