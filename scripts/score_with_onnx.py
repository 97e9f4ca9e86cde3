"""Score CSV rows as they come, with onnxruntime and numpy alone.

    python score_with_onnx.py MODEL.onnx [THRESHOLD] < rows.csv

The file has a threshold if the detector was trained with --nearest-windows 0; else give one. Rows must come at the pace of the
training (`step_seconds` of the metadata): gaps are not looked for.
"""

import csv
import json
import os
import signal
import sys

import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # which would write below the home folder, and use the network
import onnxruntime

signal.signal(getattr(signal, "SIGPIPE", signal.SIGTERM), signal.SIG_DFL)  # when nobody reads on it ends quietly, with 141
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
about = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
threshold = float(sys.argv[2]) if len(sys.argv) > 2 else about["thresholds"].get("trailing_score")
if threshold is None:
    sys.exit(f"The file has {about['exported_terms']} of the score {about['score_terms']}: give a threshold of your own.")
rows = csv.reader(sys.stdin)
header = next(rows)
places = [header.index(name) for name in about["columns"]]
window = np.full((1, about["window_size"], len(places)), np.nan)

print("row,score,threshold,is_anomaly")
for number, row in enumerate(rows):
    window = np.roll(window, -1, axis=1)
    window[0, -1] = [float(row[place] or "nan") for place in places]
    if number >= about["window_size"] - 1:
        (score,) = session.run(["trailing_score"], {"windows": window})[0]
        print(number, score, threshold, int(score > threshold), sep=",", flush=True)
