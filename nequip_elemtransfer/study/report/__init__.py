"""What the runs and evaluations of a study say together: ``report.json``, ``report.html`` and PNG files."""
