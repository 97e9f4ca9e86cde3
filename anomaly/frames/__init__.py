"""What Python users hand over as a series: frames of any library and arrays, with their times, names and missing values."""
