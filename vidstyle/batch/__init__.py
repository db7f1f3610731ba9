"""A job file, an executor, a report."""
