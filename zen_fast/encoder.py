"""The encoder, written once: any architecture that EncoderSpec can say, on any backend's ops."""

from __future__ import annotations

from dataclasses import replace

from zen_fast.ops import (
    AttentionPattern,
    EmbeddingIndex,
    EmbeddingTable,
    GatedHalf,
    Ops,
    Value,
)
from zen_fast.relative_positions import position_bias, relative_tables
from zen_fast.spec import ConvolutionSpec, DecoderSpec, EncoderSpec, Pooling
from zen_fast.weights import Linear, Weights


class Encoder:
    """One model: its spec, its weights, and what can be computed from them before any input.

    Args:
        rounded_attention: see `AttentionPattern.rounded`; None for int8 models alone.
    """

    def __init__(
        self, spec: EncoderSpec, weights: Weights, rounded_attention: bool | None = None
    ) -> None:
        self.spec = spec
        self.weights = weights
        self.rounds_attention = (
            weights.is_quantized if rounded_attention is None else rounded_attention
        ) and not (spec.causal or spec.query_independent)
        """Whether a CPU may round what attention multiplies."""
        bias = position_bias(spec, weights)
        self._patterns = tuple(
            AttentionPattern(
                layer=index,
                num_heads=spec.num_heads,
                num_kv_heads=spec.key_width // spec.head_dim,
                scale=spec.score_scale,
                cap=spec.attention_cap,
                causal=spec.causal,
                query_independent=spec.query_independent,
                window=spec.layers[index].window,
                relative=relative,
                position_bias=bias,
                rounded=self.rounds_attention,
            )
            for index, relative in enumerate(relative_tables(spec, weights))
        )

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
                EmbeddingTable(index, self.weights[f"embeddings.{index}"], self._scale(index))
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

    def _scale(self, index: EmbeddingIndex) -> float:
        return self.spec.embedding_scale if index == "token" else 1.0

    def _layer(self, ops: Ops[Value], x: Value, index: int) -> Value:
        residual = ops.pool(x, self._pooling) if self._reads_pooled_rows(index) else x
        has_norm = self.spec.layers[index].attention_norm
        normed = self._norm_before(ops, x, f"layers.{index}.attention") if has_norm else x
        x = self._attention(ops, normed, residual, index)
        if has_norm:
            x = self._norm_after(ops, x, residual, f"layers.{index}.attention")

        normed = self._norm_before(ops, x, f"layers.{index}.ffn")
        residual, x = x, self._feed_forward(ops, normed, x, f"layers.{index}.ffn")
        return self._norm_after(ops, x, residual, f"layers.{index}.ffn")

    def _norm_before(self, ops: Ops[Value], x: Value, sublayer: str) -> Value:
        if self.spec.norm_position == "post":
            return x
        return ops.norm(x, self.weights.norm(f"{sublayer}.norm"))

    def _norm_after(self, ops: Ops[Value], x: Value, residual: Value, sublayer: str) -> Value:
        match self.spec.norm_position:
            case "pre":
                return x
            case "post":
                return ops.norm(x, self.weights.norm(f"{sublayer}.norm"))
            case "both":  # x is the sublayer's output, not yet added to the residual stream
                return ops.norm(x, self.weights.norm(f"{sublayer}.output_norm"), residual)

    def _output(self, ops: Ops[Value], x: Value, name: str, residual: Value) -> Value:
        """A sublayer's last projection, and its residual sum where no norm comes between."""
        adds_later = self.spec.norm_position == "both"
        return ops.linear(x, self.weights.linear(name), residual=None if adds_later else residual)

    @property
    def _pooling(self) -> Pooling:
        return self.spec.head.pooling

    def _reads_pooled_rows(self, index: int) -> bool:
        """Whether this is the last layer, and pooled."""
        return index == self.spec.num_layers - 1 and self.spec.last_layer_is_pooled

    def _attention(self, ops: Ops[Value], x: Value, residual: Value, index: int) -> Value:
        spec, name = self.spec, f"layers.{index}.attention"
        rotary = query_rotary = spec.layers[index].rotary
        query_width, key_width = spec.query_width, spec.key_width
        if self._reads_pooled_rows(index):
            query_layer = self.weights.linear(f"{name}.qkv", slice(0, query_width))
            query = ops.linear(ops.pool(x, self._pooling), query_layer)
            key_value_layer = self.weights.linear(f"{name}.qkv", slice(query_width, None))
            key, value = ops.split(ops.linear(x, key_value_layer), (key_width, key_width))
            if self._pooling == "first":  # it sits at angle 0: its query needs no turning
                query_rotary = None
        else:
            qkv = ops.linear(x, self.weights.linear(f"{name}.qkv"))
            query, key, value = ops.split(qkv, (query_width, key_width, key_width))
        if spec.query_key_norm:
            query = ops.norm(query, self.weights.norm(f"{name}.query_norm"))
            key = ops.norm(key, self.weights.norm(f"{name}.key_norm"))
        if query_rotary is not None:
            query = ops.rotary(query, spec.num_heads, query_rotary)
        if rotary is not None:
            key = ops.rotary(key, key_width // spec.head_dim, rotary)
        context = ops.attention(query, key, value, self._patterns[index])
        return self._output(ops, context, f"{name}.output", residual)

    def _feed_forward(self, ops: Ops[Value], x: Value, residual: Value, name: str) -> Value:
        up = self.weights.linear(f"{name}.up")
        if self.spec.gate == "none":
            x = ops.linear(x, up, activation=self.spec.activation)
        else:
            activated: GatedHalf = "first" if self.spec.gate == "activate_first" else "second"
            x = ops.gate(ops.linear(x, up), self.spec.activation, activated)
        return self._output(ops, x, f"{name}.down", residual)

    def _convolve(
        self, ops: Ops[Value], embedded: Value, x: Value, convolution: ConvolutionSpec
    ) -> Value:
        kernel = self.weights["convolution.weight"]  # (out, in, kernel_size)
        layer = Linear(
            kernel.transpose(0, 2, 1).reshape(kernel.shape[0], -1),
            self.weights["convolution.bias"],
        )
        unfolded = ops.neighbours(embedded, convolution.kernel_size)
        if self._reads_pooled_rows(0):
            unfolded = ops.pool(unfolded, self._pooling)
        x = ops.linear(unfolded, layer, activation=convolution.activation, residual=x)
        return ops.norm(x, self.weights.norm("convolution.norm"))

    def _decode(self, ops: Ops[Value], encoded: Value, decoder: DecoderSpec) -> Value:
        """One step of a decoder that reads the encoder's rows: (T, hidden) → (S, hidden)."""
        spec, weights = self.spec, self.weights
        start = weights["embeddings.token"][decoder.start_id : decoder.start_id + 1]
        # Every token is of type 0, and so is each sequence's first.
        x = ops.pool(ops.embed([EmbeddingTable("token_type", start)]), "first")
        for index in range(decoder.num_layers):
            name = f"decoder.layers.{index}"
            normed = ops.norm(x, weights.norm(f"{name}.self_attention.norm"))
            # A token that attends to itself alone: the context is its value.
            value = ops.linear(normed, weights.linear(f"{name}.self_attention.value"))
            x = ops.linear(value, weights.linear(f"{name}.self_attention.output"), residual=x)

            normed = ops.norm(x, weights.norm(f"{name}.cross_attention.norm"))
            query = ops.linear(normed, weights.linear(f"{name}.cross_attention.query"))
            key_value = ops.linear(encoded, weights.linear(f"{name}.cross_attention.key_value"))
            key, value = ops.split(key_value, (spec.key_width, spec.key_width))
            pattern = replace(self._patterns[0], layer=spec.num_layers + index, position_bias=None)
            context = ops.attention(query, key, value, pattern)
            x = ops.linear(context, weights.linear(f"{name}.cross_attention.output"), residual=x)

            normed = ops.norm(x, weights.norm(f"{name}.ffn.norm"))
            x = self._feed_forward(ops, normed, x, f"{name}.ffn")
        return ops.norm(x, weights.norm("decoder.final_norm"))

    def _head(self, ops: Ops[Value], x: Value) -> Value:
        head = self.spec.head
        if self.spec.final_norm:
            x = ops.norm(x, self.weights.norm("final_norm"))
        if self.spec.decoder is not None:
            x = self._decode(ops, x, self.spec.decoder)
        elif head.pooling == "mean":
            x = ops.pool(x, "mean")
        if head.dense:
            x = ops.linear(x, self.weights.linear("head.dense"), activation=head.activation)
        if head.norm:
            x = ops.norm(x, self.weights.norm("head.norm"))
        return ops.linear(x, self.weights.linear("head.classifier")) if head.classifier else x
