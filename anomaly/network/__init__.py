"""The autoencoder: the Keras model, its derivatives written out, and its ONNX form."""
