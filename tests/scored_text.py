"""What a file is scored to, as text."""

import io

from anomaly.files.one_file import score_file


def scored(detector, path, **options):
    """Return the text that a file is scored to, and the summary."""
    output = io.BytesIO()
    summary = score_file(detector, path, output=output, **options)
    return output.getvalue().decode(), summary
