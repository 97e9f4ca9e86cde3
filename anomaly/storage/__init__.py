"""Write a file completely or not at all, on disk or in an object store; what is kept between runs."""
