"""What a run leaves behind: the store, tables, figures and the report, built from files alone."""
