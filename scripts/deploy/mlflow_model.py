"""Keep a detector in MLflow and score frames with it: `python mlflow_model.py pipeline.anomaly FOLDER`.

The file travels as an artifact and is checked as ever; a frame with a DatetimeIndex, or counted rows, gives scores and flags.
"""

import sys

import mlflow.pyfunc

from anomaly import Detector


class AnomalyModel(mlflow.pyfunc.PythonModel):
    """Scores of rows, higher for more anomalous ones."""

    def load_context(self, context):
        """Read the file; nothing in it is run."""
        self.detector = Detector.load(context.artifacts["detector"])

    def predict(self, context, model_input, params=None):
        """Return a row of score, verdict and status for each row."""
        return self.detector.score(model_input).to_frame()


if __name__ == "__main__":
    mlflow.pyfunc.save_model(path=sys.argv[2], python_model=AnomalyModel(), artifacts={"detector": sys.argv[1]})
