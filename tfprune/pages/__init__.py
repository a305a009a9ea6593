"""What people open of an output folder: report.html and the event files for TensorBoard."""
