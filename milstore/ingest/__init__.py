"""Ingesting a cohort: labels, patches, features and splits. Each function is one command, and idempotent."""
