"""The input-gradient penalty, its gradients by the weights, one step, the loop and its checkpoint."""
