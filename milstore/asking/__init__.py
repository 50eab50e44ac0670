"""Asking: which run answers, a question by its name or SQL of one's own, and the answer."""
