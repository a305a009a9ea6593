"""The experiments' entry points: flags to config, study, report, and nothing else."""
