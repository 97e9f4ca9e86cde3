"""`Detector` ties the wings together; detectors from first rows, what is dismissed, two detectors compared."""
