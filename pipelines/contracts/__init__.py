"""What every table must look like. Read by all floors; imports nothing above `quantities`."""
