"""Windows to scores, whatever pieces the rows come in; whether rows still look as in training."""
