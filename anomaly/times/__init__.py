"""What cells of a column say of times: how they are written, what numbers count from, which columns make a time up."""
