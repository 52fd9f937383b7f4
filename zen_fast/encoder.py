"""The encoder, written once: any architecture that EncoderSpec can say, on any backend's ops."""

from __future__ import annotations

from zen_fast.ops import (
    EmbeddingIndex,
    EmbeddingTable,
    GatedHalf,
    Ops,
    RelativeTables,
    Value,
)
from zen_fast.relative_positions import relative_tables
from zen_fast.spec import ConvolutionSpec, EncoderSpec
from zen_fast.weights import Linear, Weights


class Encoder:
    """One model: its spec, its weights, and what can be computed from them before any input."""

    def __init__(self, spec: EncoderSpec, weights: Weights) -> None:
        self.spec = spec
        self.weights = weights
        self._relative: tuple[RelativeTables | None, ...] = relative_tables(spec, weights)

    def logits(self, ops: Ops[Value]) -> Value:
        """The whole forward pass: packed token ids → (num_sequences, num_labels) logits."""
        return self.finish(ops, self.embed(ops), first_layer=0)

    def finish(self, ops: Ops[Value], x: Value, first_layer: int) -> Value:
        """The pass from the token states before `first_layer` to the logits."""
        return self._head(ops, self.advance(ops, x, range(first_layer, self.spec.num_layers)))

    def advance(self, ops: Ops[Value], x: Value, layers: range) -> Value:
        """Token states after `layers`, from those before them: (T, hidden) → (T, hidden)."""
        for index in layers:
            before = x
            x = self._layer(ops, before, index)
            if index == 0 and self.spec.convolution is not None:
                x = self._convolve(ops, before, x, self.spec.convolution)
        return x

    def embed(self, ops: Ops[Value]) -> Value:
        """Token states before the first layer, (T, hidden)."""
        indices: tuple[EmbeddingIndex, ...] = ("token", "position", "token_type")
        x = ops.embed(
            [
                EmbeddingTable(index, self.weights[f"embeddings.{index}"])
                for index in indices
                if f"embeddings.{index}" in self.weights
            ]
        )
        projected = self.spec.embedding_width != self.spec.hidden_size
        if projected and self.spec.embedding_projection_first:
            x = ops.linear(x, self.weights.linear("embeddings.projection"))
        if self.spec.embedding_norm:
            x = ops.norm(x, self.weights.norm("embeddings.norm"))
        if projected and not self.spec.embedding_projection_first:
            x = ops.linear(x, self.weights.linear("embeddings.projection"))
        return x

    def _layer(self, ops: Ops[Value], x: Value, index: int) -> Value:
        name = f"layers.{index}"
        pre_norm = self.spec.norm_position == "pre"
        attention_norm = (
            self.weights.norm(f"{name}.attention.norm")
            if self.spec.layers[index].attention_norm
            else None
        )
        ffn_norm = self.weights.norm(f"{name}.ffn.norm")

        normed = ops.norm(x, attention_norm) if pre_norm and attention_norm is not None else x
        residual = ops.pool(x, "first") if self._reads_first_rows(index) else x
        x = self._attention(ops, normed, residual, index)
        if not pre_norm and attention_norm is not None:
            x = ops.norm(x, attention_norm)

        normed = ops.norm(x, ffn_norm) if pre_norm else x
        x = self._feed_forward(ops, normed, residual=x, index=index)
        return x if pre_norm else ops.norm(x, ffn_norm)

    def _reads_first_rows(self, index: int) -> bool:
        """Whether the head needs only the first token's row of this layer's output."""
        return index == self.spec.num_layers - 1 and self.spec.head.pooling == "first"

    def _attention(self, ops: Ops[Value], x: Value, residual: Value, index: int) -> Value:
        spec, layer, hidden = self.spec, self.spec.layers[index], self.spec.hidden_size
        name = f"layers.{index}.attention"
        if self._reads_first_rows(index):
            query_layer = self.weights.linear(f"{name}.qkv", slice(0, hidden))
            query = ops.linear(ops.pool(x, "first"), query_layer)
            key_value_layer = self.weights.linear(f"{name}.qkv", slice(hidden, 3 * hidden))
            key, value = ops.split(ops.linear(x, key_value_layer), (hidden, hidden))
        else:
            qkv = ops.linear(x, self.weights.linear(f"{name}.qkv"))
            query, key, value = ops.split(qkv, (hidden, hidden, hidden))
            if layer.rotary is not None:
                query = ops.rotary(query, spec.num_heads, layer.rotary)
        if layer.rotary is not None:  # the first token sits at angle 0: its query needs no turning
            key = ops.rotary(key, spec.num_heads, layer.rotary)
        context = ops.attention(
            query,
            key,
            value,
            spec.num_heads,
            spec.score_scale,
            window=layer.window,
            relative=self._relative[index],
        )
        return ops.linear(context, self.weights.linear(f"{name}.output"), residual=residual)

    def _feed_forward(self, ops: Ops[Value], x: Value, residual: Value, index: int) -> Value:
        up = self.weights.linear(f"layers.{index}.ffn.up")
        down = self.weights.linear(f"layers.{index}.ffn.down")
        if self.spec.gate == "none":
            x = ops.linear(x, up, activation=self.spec.activation)
        else:
            activated: GatedHalf = "first" if self.spec.gate == "activate_first" else "second"
            x = ops.gate(ops.linear(x, up), self.spec.activation, activated)
        return ops.linear(x, down, residual=residual)

    def _convolve(
        self, ops: Ops[Value], embedded: Value, x: Value, convolution: ConvolutionSpec
    ) -> Value:
        kernel = self.weights["convolution.weight"]  # (out, in, kernel_size)
        layer = Linear(
            kernel.transpose(0, 2, 1).reshape(kernel.shape[0], -1),
            self.weights["convolution.bias"],
        )
        unfolded = ops.neighbours(embedded, convolution.kernel_size)
        if self._reads_first_rows(0):
            unfolded = ops.pool(unfolded, "first")
        x = ops.linear(unfolded, layer, activation=convolution.activation, residual=x)
        return ops.norm(x, self.weights.norm("convolution.norm"))

    def _head(self, ops: Ops[Value], x: Value) -> Value:
        head = self.spec.head
        if self.spec.final_norm:
            x = ops.norm(x, self.weights.norm("final_norm"))
        if head.pooling == "mean":
            x = ops.pool(x, "mean")
        if head.dense:
            x = ops.linear(x, self.weights.linear("head.dense"), activation=head.activation)
        if head.norm:
            x = ops.norm(x, self.weights.norm("head.norm"))
        return ops.linear(x, self.weights.linear("head.classifier")) if head.classifier else x
