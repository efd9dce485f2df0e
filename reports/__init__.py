"""Reports: from the record of a run to tables, figures and HTML."""
