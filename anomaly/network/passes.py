"""The autoencoder of `anomaly.network.model` with its derivatives written out, on one batch.

Same weights, same output as the Keras model, but as four explicit passes: forward, backward, and the
derivatives of both along a direction of the input (`anomaly.network.recurrence` says what they are). All that
lies between the layers (joining directions, repeating, flipping, dropping) and around them (means of rows, and
rows out of means) is linear, so a pass and its tangent share their wiring.
"""

from collections.abc import Mapping
from typing import Any

from anomaly.config import NetworkConfig
from anomaly.network.model import has_projected_state, rows_of_timesteps
from anomaly.network.recurrence import Affine, Lstm, Tanh
from anomaly.tensorflow_start import load_tensorflow

Tensor = Any
# A batch draws from its seed and from so many after it, at most: noise, and a mask for each of up to six layers.
SEEDS = 16


class Passes:
    """The network on one batch of windows; call the passes in order, each at most once.

    Args:
        config: the shape of the network.
        weights: tensors under the names of `anomaly.network.model.weight_shapes`.
        shape: `(batch, window_size, n_features)`, static.
        seed: `(2,)` int32, seed of dropout and input noise; None switches them off.
            The `SEEDS` numbers from the second on are used.
        tangents: whether the tangents will be run.
    """

    def __init__(
        self,
        config: NetworkConfig,
        weights: Mapping[str, Tensor],
        shape: tuple[int, int, int],
        seed: Tensor | None,
        *,
        tangents: bool,
    ) -> None:
        self._config, self._weights, self._shape, self._seed = config, weights, shape, seed
        self._tangents = tangents
        self._rows = rows_of_timesteps(config, shape[1])
        parts = ("forward", "backward") if config.bidirectional else ("forward",)
        numbers = range(1, config.layers + 1)
        self._encoder = [[self._lstm(f"encoder_{n}/{part}") for part in parts] for n in numbers]
        self._decoder = [self._lstm(f"decoder_{n}/forward") for n in numbers]
        names = ["output", *(("code", "state_h", "state_c") if has_projected_state(config) else ())]
        self._affine = {name: Affine(weights[f"{name}/kernel"], weights[f"{name}/bias"]) for name in names}
        self._tanh = Tanh()
        self._encoder_masks, self._decoder_masks = self._draw_masks()

    def forward(self, windows: Tensor) -> Tensor:
        """Reconstruct `(batch, window_size, n_features)`."""
        tf = load_tensorflow()

        if self._seed is not None and self._config.input_noise:
            windows = windows + tf.random.stateless_normal(
                windows.shape, self._seed, stddev=self._config.input_noise, dtype=windows.dtype, alg="philox"
            )
        return self._ahead(windows, "forward")

    def backward(self, d_outputs: Tensor) -> Tensor:
        """Return the derivative by the windows from that by the reconstruction."""
        return self._back(d_outputs, "backward")

    def forward_tangent(self, direction: Tensor) -> Tensor:
        """Return the derivative of the reconstruction along a direction of the windows."""
        return self._ahead(direction, "forward_tangent")

    def backward_tangent(self, d_outputs: Tensor) -> None:
        """Carry the derivative along the direction of `backward`'s argument back."""
        self._back(d_outputs, "backward_tangent")

    def gradients(self) -> dict[str, Tensor]:
        """Return the derivatives by all weights, under their names; with the tangents added, where those were run."""
        found: dict[str, Tensor] = {}
        parts = ("forward", "backward")
        lstms = {
            f"encoder_{n}/{part}": lstm
            for n, layer in enumerate(self._encoder, 1)
            for part, lstm in zip(parts, layer, strict=False)
        }
        lstms |= {f"decoder_{n}/forward": lstm for n, lstm in enumerate(self._decoder, 1)}
        for name, lstm in lstms.items():
            arrays = zip(("kernel", "recurrent_kernel", "bias"), lstm.gradients(), strict=True)
            found |= {f"{name}/{kind}": array for kind, array in arrays}
        for name, affine in self._affine.items():
            found[f"{name}/kernel"], found[f"{name}/bias"] = affine.gradients()
        return {name: found[name] for name in self._weights}

    def _lstm(self, name: str) -> Lstm:
        kernel, recurrent_kernel, bias = (self._weights[f"{name}/{kind}"] for kind in ("kernel", "recurrent_kernel", "bias"))
        return Lstm(kernel, recurrent_kernel, bias, n_steps=len(self._rows), tangents=self._tangents)

    def _draw_masks(self) -> tuple[list[Tensor | None], list[Tensor | None]]:
        """Draw what dropout keeps, as factors, after each encoder layer and after each decoder layer."""
        tf = load_tensorflow()

        config, seed, batch, n_timesteps = self._config, self._seed, self._shape[0], len(self._rows)
        nothing: list[Tensor | None] = [None] * config.layers
        if seed is None or not config.dropout:
            return nothing, nothing
        dtype, keep = self._weights["output/kernel"].dtype, 1 - config.dropout

        def draw(number: int, *shape: int) -> Tensor:
            kept = tf.random.stateless_uniform(shape, seed + tf.constant((0, number)), dtype=dtype, alg="philox") < keep
            return tf.cast(kept, dtype) / keep

        width = config.units * (2 if config.bidirectional else 1)
        between = range(1, config.layers)
        encoder = [draw(n, n_timesteps, batch, width) for n in between] + [draw(config.layers, batch, width)]
        decoder = [draw(config.layers + n, n_timesteps, batch, config.units) for n in between]
        return encoder, [*decoder, None]

    def _ahead(self, x: Tensor, run: str) -> Tensor:
        """Take the windows, or a direction of them, through `forward` or `forward_tangent` of every layer."""
        tf = load_tensorflow()

        zeros = tf.zeros((self._shape[0], self._config.units), x.dtype)
        x = self._per_timestep(self._summed(tf.transpose(x, (1, 0, 2))))  # (time, batch, features)
        for layer, mask in zip(self._encoder, self._encoder_masks, strict=True):
            ends = [getattr(lstm, run)(_turned(x, part), zeros, zeros) for part, lstm in enumerate(layer)]
            outputs, h, c = zip(*ends, strict=True)
            x = tf.concat([_turned(output, part) for part, output in enumerate(outputs)], -1)
            code, state = tf.concat(h, -1), (tf.concat(h, -1), tf.concat(c, -1))
            x, code = (x, _masked(code, mask)) if layer is self._encoder[-1] else (_masked(x, mask), code)
        x, state = self._into_decoder(code, state, run)
        for lstm, mask in zip(self._decoder, self._decoder_masks, strict=True):
            x, _, _ = getattr(lstm, run)(x, *state)
            x, state = _masked(x, mask), (zeros, zeros)
        return tf.transpose(self._repeated(self._in_output_order(getattr(self._affine["output"], run)(x))), (1, 0, 2))

    def _into_decoder(self, code: Tensor, state: tuple[Tensor, Tensor], run: str) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the decoder's input and its initial state."""
        if not has_projected_state(self._config):
            return code, state
        code = getattr(self._affine["code"], run)(code)
        h = getattr(self._tanh, run)(getattr(self._affine["state_h"], run)(code))
        return code, (h, getattr(self._affine["state_c"], run)(code))

    def _back(self, d: Tensor, run: str) -> Tensor:
        """Take the derivative by the reconstruction back through `backward` or `backward_tangent` of every layer."""
        tf = load_tensorflow()

        zeros = tf.zeros((self._shape[0], self._config.units), d.dtype)
        d = getattr(self._affine["output"], run)(self._in_output_order(self._summed(tf.transpose(d, (1, 0, 2)))))
        for lstm, mask in zip(self._decoder[::-1], self._decoder_masks[::-1], strict=True):
            d, dh, dc = getattr(lstm, run)(_masked(d, mask), zeros, zeros)
        d, dh, dc = self._out_of_decoder(d, dh, dc, run)
        n_parts = len(self._encoder[0])
        d_outputs: list[Tensor | None] = [None] * n_parts
        dh, dc = tf.split(dh + _masked(d, self._encoder_masks[-1]), n_parts, -1), tf.split(dc, n_parts, -1)
        for n in reversed(range(self._config.layers)):
            ends = [
                getattr(lstm, run)(_turned(d_outputs[part], part), dh[part], dc[part]) for part, lstm in enumerate(self._encoder[n])
            ]
            d = sum(_turned(end[0], part) for part, end in enumerate(ends))
            if n > 0:
                d_outputs = tf.split(_masked(d, self._encoder_masks[n - 1]), n_parts, -1)
                dh = dc = [zeros] * n_parts
        return tf.transpose(self._repeated(self._per_timestep(d)), (1, 0, 2))

    def _out_of_decoder(self, d: Tensor, dh: Tensor, dc: Tensor, run: str) -> tuple[Tensor, Tensor, Tensor]:
        """Return the derivatives by the masked code and by the encoder's last h and c."""
        tf = load_tensorflow()

        if not has_projected_state(self._config):
            return d, dh, dc
        d += getattr(self._affine["state_h"], run)(getattr(self._tanh, run)(dh)) + getattr(self._affine["state_c"], run)(dc)
        d = getattr(self._affine["code"], run)(d)
        return d, tf.zeros_like(d), tf.zeros_like(d)

    def _in_output_order(self, x: Tensor) -> Tensor:
        """Flip time if the decoder emits the last timestep first."""
        return _turned(x, self._config.output_order == "reversed")

    def _summed(self, x: Tensor) -> Tensor:
        """Return sums over the rows of each timestep of the network; the transpose of `_repeated`."""
        tf = load_tensorflow()

        if self._rows[-1] == 1:
            return x
        rows = self._rows
        x = tf.pad(x, ((rows[-1] - rows[0], 0), (0, 0), (0, 0)))  # zeros fill the first timestep up
        return tf.reduce_sum(tf.reshape(x, (len(rows), rows[-1], *x.shape[1:])), 1)

    def _repeated(self, x: Tensor) -> Tensor:
        """Return each timestep of the network once for each of its rows."""
        tf = load_tensorflow()

        if self._rows[-1] == 1:
            return x
        (n_timesteps, *rest), most = x.shape, self._rows[-1]
        x = tf.broadcast_to(x[:, None], (n_timesteps, most, *rest))
        return tf.reshape(x, (n_timesteps * most, *rest))[-self._shape[1] :]

    def _per_timestep(self, x: Tensor) -> Tensor:
        """Divide each timestep of the network by the number of its rows."""
        tf = load_tensorflow()

        return x if self._rows[-1] == 1 else x / tf.constant(self._rows, x.dtype)[:, None, None]


def _turned(x: Tensor | None, turn: int) -> Tensor | None:
    """Return a time-major sequence, backwards in time if `turn` is not 0."""
    tf = load_tensorflow()

    return x if x is None or not turn else tf.reverse(x, [0])


def _masked(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x * mask
