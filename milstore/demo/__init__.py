"""The bundled demo: a cohort with the study's cases and splits, and with drawn tissue."""
