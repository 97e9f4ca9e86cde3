"""One LSTM layer with its derivatives written out: four loops over time, and no tape.

With z_t = x_t W + h_{t-1} R + b, split in four (Keras' order: input i, forget f, cell g, output o),

    i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o)      g = tanh(z_g)
    c_t = f c_{t-1} + i g                                   h_t = o tanh(c_t)

(Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000, as Keras has it.) `forward`
keeps six coefficients, the partial derivatives of one step:

    a_i = g i(1-i)    a_f = c_{t-1} f(1-f)    a_g = i (1-g^2)       dc_t / dz_i, dz_f, dz_g
    a_o = tanh(c) o(1-o)    q = o (1-tanh(c)^2)    f                dh_t / dz_o, dh_t / dc_t, dc_t / dc_{t-1}

and the other loops are linear in them. Their transpose carries derivatives of a loss backwards,

    backward            dc += dh q;   dz = (dc a_i, dc a_f, dc a_g, dh a_o);   dc_{t-1} = dc f;   dh_{t-1} = dz R^T

and they themselves carry a direction v of the input forwards (x_v is the derivative of x along v):

    forward_tangent     c_v = f c_v + a_i z_i,v + a_f z_f,v + a_g z_g,v;   h_v = q c_v + a_o z_o,v
    backward_tangent    the derivative of `backward` along v, by the product rule

The last two are forward-over-reverse differentiation (Pearlmutter 1994, "Fast exact multiplication by
the Hessian"): they give d/de [grad l(x + e v)] at e = 0 to rounding error, for the price of a second
pair of loops, and no loop is ever differentiated by machine.

What makes it fast: everything that does not depend on h_{t-1} is outside the loops. The input
projection is one product for all timesteps (or for one, where the input is the same at all of them),
and so is each weight gradient, X^T dZ. Inside a loop there is one product of h or dz with R, and
elementwise arithmetic that XLA fuses.

Everything is time-major, `(time, batch, features)`, and of static shape.
"""

from collections.abc import Callable, Sequence
from typing import Any

from anomaly.tensorflow_start import load_tensorflow

Tensor = Any


class Lstm:
    """One layer in one direction on one batch; every method keeps what the later ones need.

    Call the methods in the order of the module's list, each at most once, then `gradients`.

    Args:
        kernel: W, `(inputs, 4 units)`.
        recurrent_kernel: R, `(units, 4 units)`.
        bias: b, `(4 units,)`.
        n_steps: timesteps T.
        tangents: whether the tangents will be asked for; without them less is kept.
    """

    def __init__(self, kernel: Tensor, recurrent_kernel: Tensor, bias: Tensor, n_steps: int, *, tangents: bool) -> None:
        self._input = Affine(kernel, None)
        self._recurrent, self._bias = recurrent_kernel, bias
        self._n_steps, self._tangents = n_steps, tangents

    def forward(self, inputs: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run the layer.

        Args:
            inputs: `(T, batch, inputs)`; or `(batch, inputs)`, the same at every timestep.
            h: initial output, `(batch, units)`.
            c: initial cell state, `(batch, units)`.

        Returns:
            All outputs `(T, batch, units)`, and the last h and c.
        """
        tf = load_tensorflow()

        # sigmoid(z) = 1/2 + tanh(z / 2) / 2: one function for all four gates, so that XLA makes one loop of them.
        halves = tf.repeat(tf.constant([0.5, 0.5, 1.0, 0.5], h.dtype), h.shape[1])

        def step(slices: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
            (h, c), z = state, slices[0] if slices else projected
            gates = tf.tanh((z + tf.matmul(h, self._recurrent) + self._bias) * halves) * halves + (1 - halves)
            i, f, g, o = _split(gates)
            into_c = [g * i * (1 - i), c * f * (1 - f), i * (1 - g * g)]
            kept = [gates, c] if self._tangents else []
            c = f * c + i * g
            tanh_c = tf.tanh(c)
            h = o * tanh_c
            kept += [tanh_c] if self._tangents else []
            slopes = tf.concat([*into_c, tanh_c * o * (1 - o)], 1)
            return [h, c], [slopes, h, o * (1 - tanh_c * tanh_c), f, *kept]

        projected = self._input.forward(inputs)
        self._first_h = h
        widths = (4, 1, 1, 1) + ((4, 1, 1) if self._tangents else ())
        found, (h, c) = self._loop(step, [h, c], [], widths, over=projected if len(projected.shape) == 3 else None)
        (self._slopes, self._outputs, self._q, self._f), self._kept = found[:4], found[4:]
        return self._outputs, h, c

    def backward(self, d_outputs: Tensor | None, dh: Tensor, dc: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Carry the derivative of a loss back through the layer.

        Args:
            d_outputs: by every output, `(T, batch, units)`; None for zero.
            dh: by the last h, beside what `d_outputs` says of it.
            dc: by the last c.

        Returns:
            The derivatives by `inputs` (of its shape), by the initial h and by the initial c.
        """
        tf = load_tensorflow()

        recurrent = tf.transpose(self._recurrent)

        def step(slices: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
            (slopes, q, f, *d_output), (dh, dc) = slices, state
            a_i, a_f, a_g, a_o = _split(slopes)
            dh = dh + d_output[0] if d_output else dh
            dc = dc + dh * q
            dz = tf.concat([dc * a_i, dc * a_f, dc * a_g, dh * a_o], 1)
            return [tf.matmul(dz, recurrent), dc * f], [dz, dh, dc] if self._tangents else [dz]

        reads = [self._q, self._f, *([] if d_outputs is None else [d_outputs])]
        if self._tangents:  # which need the slopes once more
            (self._dz, *self._dh_dc), (dh, dc) = self._loop(step, [dh, dc], [self._slopes, *reads], (4, 1, 1), backwards=True)
        else:
            (self._dz,), (dh, dc) = self._loop(step, [dh, dc], reads, (4,), over=self._slopes, backwards=True)
        return self._input.backward(self._dz), dh, dc

    def forward_tangent(self, inputs: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Carry a direction v forward; arguments and results are the derivatives along v of those of `forward`."""
        tf = load_tensorflow()

        def step(slices: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
            (gates, c_before, tanh_c, *z), (h_v, c_v) = slices, state
            z_v = (z[0] if z else projected) + tf.matmul(h_v, self._recurrent)
            (i, f, g, o), (i_z, f_z, g_z, o_z) = _split(gates), _split(z_v)
            i_v, f_v, g_v, o_v = i * (1 - i) * i_z, f * (1 - f) * f_z, (1 - g * g) * g_z, o * (1 - o) * o_z
            slopes_v = [
                i * (1 - i) * g_v + g * (1 - 2 * i) * i_v,
                f * (1 - f) * c_v + c_before * (1 - 2 * f) * f_v,
                (1 - g * g) * i_v - 2 * i * g * g_v,
            ]
            c_v = f_v * c_before + f * c_v + i_v * g + i * g_v
            tanh_v = (1 - tanh_c * tanh_c) * c_v
            h_v = o_v * tanh_c + o * tanh_v
            slopes_v.append(o * (1 - o) * tanh_v + tanh_c * (1 - 2 * o) * o_v)
            q_v = (1 - tanh_c * tanh_c) * o_v - 2 * o * tanh_c * tanh_v
            return [h_v, c_v], [tf.concat(slopes_v, 1), h_v, q_v, f_v]

        projected = self._input.forward_tangent(inputs)
        self._first_h_v = h
        reads = [*self._kept, *([projected] if len(projected.shape) == 3 else [])]
        found, (h, c) = self._loop(step, [h, c], reads, (4, 1, 1, 1))
        self._slopes_v, self._outputs_v, self._q_v, self._f_v = found
        return self._outputs_v, h, c

    def backward_tangent(self, d_outputs: Tensor | None, dh: Tensor, dc: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Carry the derivatives along v of `backward`'s arguments back; returns those of its results."""
        tf = load_tensorflow()

        recurrent = tf.transpose(self._recurrent)

        def step(slices: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
            (slopes, q, f, slopes_v, q_v, f_v, dh, dc, *d_output_v), (dh_v, dc_v) = slices, state
            dh_v = dh_v + d_output_v[0] if d_output_v else dh_v
            dc_v = dc_v + dh_v * q + dh * q_v
            factors, factors_v = (dc, dc, dc, dh), (dc_v, dc_v, dc_v, dh_v)
            pairs = zip(factors_v, _split(slopes), factors, _split(slopes_v), strict=True)
            dz_v = tf.concat([d_v * a + d * a_v for d_v, a, d, a_v in pairs], 1)
            return [tf.matmul(dz_v, recurrent), dc_v * f + dc * f_v], [dz_v]

        reads = [self._slopes, self._q, self._f, self._slopes_v, self._q_v, self._f_v, *self._dh_dc]
        reads += [] if d_outputs is None else [d_outputs]
        (self._dz_v,), (dh, dc) = self._loop(step, [dh, dc], reads, (4,), backwards=True)
        return self._input.backward_tangent(self._dz_v), dh, dc

    def gradients(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the derivatives by kernel, recurrent_kernel and bias; with their tangents added, where those were run."""
        kernel, bias = self._input.gradients()
        before = _shifted(self._first_h, self._outputs)
        if not self._tangents:
            return kernel, _product(before, self._dz), bias
        before_v = _shifted(self._first_h_v, self._outputs_v)
        return kernel, _product(before, self._dz + self._dz_v) + _product(before_v, self._dz), bias

    def _loop(
        self,
        step: Callable[[Sequence[Tensor], Sequence[Tensor]], tuple[list[Tensor], list[Tensor]]],
        state: Sequence[Tensor],
        reads: Sequence[Tensor],
        widths: Sequence[int],
        *,
        over: Tensor | None = None,
        backwards: bool = False,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Run `step` at every timestep; return what it emitted, stacked over time, and the last state.

        Args:
            step: from the slices at one timestep and the state to the next state and what is emitted.
            state: at the start, `(batch, units)` each.
            reads: sequences `(T, batch, ...)` to slice.
            widths: the widths of what is emitted, in units.
            over: another sequence, sliced first; what is emitted first takes its place, so that XLA needs no
                second array of that size (of the largest there are; memory decides the speed here).
            backwards: from the last timestep to the first.
        """
        tf = load_tensorflow()

        (batch, units), dtype, n_steps = state[0].shape, state[0].dtype, self._n_steps
        arrays = [tf.TensorArray(dtype, n_steps, element_shape=(batch, width * units), clear_after_read=False) for width in widths]
        if over is not None:
            arrays[0] = arrays[0].unstack(over)

        def body(n: Tensor, state: Sequence[Tensor], arrays: Sequence[Any]) -> tuple[Tensor, list[Tensor], list[Any]]:
            t = n_steps - 1 - n if backwards else n
            slices = [] if over is None else [arrays[0].read(t)]
            state, emitted = step(slices + [tf.gather(sequence, t) for sequence in reads], state)
            return n + 1, state, [array.write(t, value) for array, value in zip(arrays, emitted, strict=True)]

        loop = (tf.constant(0), list(state), arrays)
        _, last, arrays = tf.while_loop(lambda n, *_: n < n_steps, body, loop, maximum_iterations=n_steps)
        return [array.stack() for array in arrays], list(last)


class Affine:
    """x W + b on one batch, with the same four passes.

    A result that was the same at all timesteps may be followed by derivatives of each of them: they are summed.
    """

    def __init__(self, kernel: Tensor, bias: Tensor | None) -> None:
        self._kernel, self._bias = kernel, bias

    def forward(self, inputs: Tensor) -> Tensor:
        """Return `(..., outputs)`."""
        self._inputs = inputs
        outputs = _apply(inputs, self._kernel)
        return outputs if self._bias is None else outputs + self._bias

    def backward(self, d_outputs: Tensor) -> Tensor:
        """Return the derivative by the inputs."""
        self._d_outputs = self._summed(d_outputs)
        return _apply(self._d_outputs, self._kernel, transpose=True)

    def forward_tangent(self, inputs: Tensor) -> Tensor:
        """Return the derivative along v of the outputs."""
        self._inputs_v = inputs
        return _apply(inputs, self._kernel)

    def backward_tangent(self, d_outputs: Tensor) -> Tensor:
        """Return the derivative along v of what `backward` returned."""
        self._d_outputs_v = self._summed(d_outputs)
        return _apply(self._d_outputs_v, self._kernel, transpose=True)

    def gradients(self) -> tuple[Tensor, Tensor]:
        """Return the derivatives by kernel and bias; with their tangents added, where those were run."""
        tf = load_tensorflow()

        if not hasattr(self, "_d_outputs_v"):
            d_outputs, kernel = self._d_outputs, _product(self._inputs, self._d_outputs)
        else:
            d_outputs = self._d_outputs + self._d_outputs_v
            kernel = _product(self._inputs, d_outputs) + _product(self._inputs_v, self._d_outputs)
        return kernel, tf.reduce_sum(d_outputs, list(range(len(d_outputs.shape) - 1)))

    def _summed(self, d_outputs: Tensor) -> Tensor:
        tf = load_tensorflow()

        return tf.reduce_sum(d_outputs, 0) if len(d_outputs.shape) > len(self._inputs.shape) else d_outputs


class Tanh:
    """tanh on one batch, with the same four passes and no weights."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs."""
        tf = load_tensorflow()

        self._outputs = tf.tanh(inputs)
        return self._outputs

    def backward(self, d_outputs: Tensor) -> Tensor:
        """Return the derivative by the inputs."""
        self._d_outputs = d_outputs
        return d_outputs * (1 - self._outputs**2)

    def forward_tangent(self, inputs: Tensor) -> Tensor:
        """Return the derivative along v of the outputs."""
        self._outputs_v = inputs * (1 - self._outputs**2)
        return self._outputs_v

    def backward_tangent(self, d_outputs: Tensor) -> Tensor:
        """Return the derivative along v of what `backward` returned."""
        return d_outputs * (1 - self._outputs**2) - 2 * self._d_outputs * self._outputs * self._outputs_v


def _split(gates: Tensor) -> Any:
    tf = load_tensorflow()

    return tf.split(gates, 4, axis=1)


def _shifted(first: Tensor, sequence: Tensor) -> Tensor:
    """Return what stood before each timestep."""
    tf = load_tensorflow()

    return tf.concat([first[None], sequence[:-1]], 0)


def _apply(x: Tensor, matrix: Tensor, *, transpose: bool = False) -> Tensor:
    """Multiply the last axis by a matrix."""
    tf = load_tensorflow()

    *leading, width = x.shape
    product = tf.matmul(tf.reshape(x, (-1, width)), matrix, transpose_b=transpose)
    return tf.reshape(product, (*leading, product.shape[1]))


def _product(x: Tensor, y: Tensor) -> Tensor:
    """Return X^T Y, summed over time and batch."""
    tf = load_tensorflow()

    return tf.matmul(tf.reshape(x, (-1, x.shape[-1])), tf.reshape(y, (-1, y.shape[-1])), transpose_a=True)
