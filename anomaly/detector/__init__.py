"""`Detector` ties the wings together; fitting, going on from an older one, comparing the two."""
