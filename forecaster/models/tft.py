"""The Temporal Fusion Transformer as it is served: one batched forward pass on plain tensors.

It reads weights under the names of pytorch-forecasting's ``TemporalFusionTransformer`` and computes the same function
(Lim et al., arXiv 1912.09363, in that library's variant) without importing it. Layers that are linear in a scalar input
are folded into one multiplication when the weights are read, one stacked operation computes the small networks of all
variables, and clock inputs that all servers share are processed once. Training folds in every step: the weights of all
variables are stacked before they are folded, since a GPU takes as long to start an operation as to fold them all.

Built from the parameters of a module it is differentiable: training runs through the same pass.

Letters: B rows, T encoder steps, P decoder positions, D hidden size, V variables, E continuous embedding size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from forecaster.models.features import Variables


class Weights:
    """The trained tensors below a prefix; KeyError with the full name where one is missing."""

    def __init__(self, tensors: Mapping[str, Tensor], prefix: str = ""):
        self._tensors, self._prefix = tensors, prefix

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[self._prefix + name]

    def __truediv__(self, name: str) -> Weights:
        return Weights(self._tensors, f"{self._prefix}{name}.")

    def get(self, name: str) -> Tensor:
        """The tensor, or one without elements where the network has none of this name."""
        return self._tensors.get(self._prefix + name, torch.empty(0))


class Stack:
    """The same tensor of several networks of one shape, stacked along a new first axis."""

    def __init__(self, networks: Sequence[Weights]):
        self._networks = networks

    def __getitem__(self, name: str) -> Tensor:
        return torch.stack([w[name] for w in self._networks])

    def __truediv__(self, name: str) -> Stack:
        return Stack([w / name for w in self._networks])


@lru_cache
@torch.inference_mode(mode=False)  # a matrix that was made in serving can be used in training, too
def _stretch(sizes: tuple[int, int], device: torch.device, dtype: torch.dtype) -> Tensor:
    """(in, out): linear interpolation from one width to another as a matrix."""
    eye = torch.eye(sizes[0], device=device, dtype=torch.float32)
    return F.interpolate(eye[:, None], sizes[1], mode="linear", align_corners=True)[:, 0].to(dtype)


def _gate(w: Weights | Stack) -> tuple[Tensor, Tensor]:
    """(weight, bias) of fc2 and the gate after it as one layer."""
    glu, fc2 = w / "gate_norm.glu.fc", w / "fc2"
    gate = glu["weight"]
    return gate @ fc2["weight"], (gate @ fc2["bias"][..., None])[..., 0] + glu["bias"]


class Norm:
    def __init__(self, w: Weights):
        self.weight, self.bias = w["weight"], w["bias"]

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-5)


class Gate:
    """Gated linear unit, skip connection, layer norm."""

    def __init__(self, glu: Weights, norm: Weights):
        self.weight, self.bias, self.norm = glu["fc.weight"], glu["fc.bias"], Norm(norm)

    def __call__(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.norm(F.glu(F.linear(x, self.weight, self.bias), -1) + skip)


class Residual:
    """Gated residual network of equal input and output width; fc2 and the gate are one matrix."""

    def __init__(self, w: Weights):
        self.fc1, self.bias1 = w["fc1.weight"], w["fc1.bias"]
        self.gate, self.gate_bias = _gate(w)
        self.norm = Norm(w / "gate_norm.add_norm.norm")
        self.context = w.get("context.weight")

    def __call__(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        hidden = F.linear(x, self.fc1, self.bias1)
        if context is not None:
            hidden = hidden + F.linear(context, self.context)
        return self.norm(F.glu(F.linear(F.elu(hidden), self.gate, self.gate_bias), -1) + x)


class Selection:
    """Variable selection: a small network of each variable, mixed by softmax weights computed from all variables.

    reals enter as scalars (..., R), categories as integer indices (..., K); context (..., D) or None.
    """

    def __init__(
        self, w: Weights, reals: tuple[str, ...], categories: tuple[str, ...], embeddings: Weights, prescalers: Weights
    ):
        flat, own, count = w / "flattened_grn", w / "single_variable_grns", len(categories) + len(reals)
        first = flat["fc1.weight"]
        resample = _stretch((first.shape[1], count), first.device, first.dtype)
        joint = torch.cat([first.T, resample], 1)  # (flat inputs, hidden + V): both paths into the weight network
        self.hidden = first.shape[0]
        self.at_category, self.at_real = list(range(len(categories))), list(range(len(categories), count))
        self.gate, self.gate_bias = _gate(flat)
        self.norm = Norm(flat / "gate_norm.add_norm.norm")
        self.skip_gate = 2 * torch.sigmoid(flat["resample_norm.mask"])
        self.skip_norm = Norm(flat / "resample_norm.norm")
        self.context = flat.get("context.weight")
        pre = Stack([prescalers / n for n in reals])
        enters = torch.cat([pre["weight"].mT, pre["bias"][:, None]], 1)  # (R, 2, E): slope and constant of each real
        tables = [embeddings[f"{n}.weight"] for n in categories]
        *parts, rest = torch.split(joint, [*(table.shape[1] for table in tables), enters[:, 0].numel()])
        self.joint_slope, shift = (enters @ torch.unflatten(rest, 0, enters.shape[::2])).unbind(1)
        self.joint_bias = torch.cat([flat["fc1.bias"], torch.zeros_like(resample[0])]) + shift.sum(0)
        self.tables = [_table(table, part, own / n) for table, part, n in zip(tables, parts, categories, strict=True)]
        self.real = _fold(enters, Stack([own / n for n in reals]))

    @staticmethod
    def _real_outputs(x: Tensor, p: Mapping[str, Tensor]) -> Tensor:
        """Reals (N, R) through their own networks ``p`` -> (R, N, D)."""
        size, x = p["nw"].shape[1:], x.T[..., None]
        hidden = F.elu(torch.addcmul(p["c"][:, None], x, p["a"][:, None]))
        gated = F.glu(torch.baddbmm(p["gate_bias"][:, None], hidden, p["gate"]), -1)
        skip = F.layer_norm(torch.addcmul(p["s"][:, None], x, p["r"][:, None]), size, eps=1e-5)
        skip = torch.addcmul(p["rb"][:, None], skip, p["rw"][:, None])
        return torch.addcmul(p["nb"][:, None], F.layer_norm(gated + skip, size, eps=1e-5), p["nw"][:, None])

    def shared(self, reals: Tensor, categories: Tensor) -> tuple[Tensor, Tensor]:
        """The part of the first reals (N, R) and all categories (N, K) in the weight network (N, hidden + V) with its
        bias, and the outputs of their own networks (N, K + R, D), categories first."""
        count = reals.shape[1]
        joint = reals @ self.joint_slope[:count] + self.joint_bias
        outputs = [out[categories[:, i]] for i, (out, _) in enumerate(self.tables)]
        for i, (_, part) in enumerate(self.tables):
            joint = joint + part[categories[:, i]]
        if count:
            outputs += self._real_outputs(reals, {k: v[:count] for k, v in self.real.items()})
        return joint, torch.stack(outputs, 1) if outputs else joint.new_zeros(len(joint), 0, 1)

    def __call__(self, reals: Tensor, categories: Tensor, context: Tensor | None = None) -> Tensor:
        joint = reals @ self.joint_slope + self.joint_bias
        outputs = self._real_outputs(reals.flatten(0, -2), self.real)
        outputs = torch.unflatten(outputs, 1, reals.shape[:-1])  # (R, ..., D)
        tables = []
        for i, (out, part) in enumerate(self.tables):
            tables.append(out[categories[..., i]])
            joint = joint + part[categories[..., i]]
        hidden, flat = joint[..., : self.hidden], joint[..., self.hidden :]
        if context is not None:
            hidden = hidden + F.linear(context, self.context)
        skip = self.skip_norm(flat * self.skip_gate)
        weights = self.norm(F.glu(F.linear(F.elu(hidden), self.gate, self.gate_bias), -1) + skip).softmax(-1)
        *of_tables, of_reals = torch.split(weights, [*[1] * len(tables), len(outputs)], -1)
        mixed: Tensor = (of_reals.movedim(-1, 0)[..., None] * outputs).sum(0)
        for weight, out in zip(of_tables, tables, strict=True):
            mixed = torch.addcmul(mixed, weight, out)
        return mixed


def _fold(enters: Tensor, own: Stack) -> dict[str, Tensor]:
    """The networks of R reals, each of them a layer of a scalar, a gate, and a skip connection. enters (R, 2, E): slope
    and constant of what enters them."""
    mask, (gate, gate_bias) = 2 * torch.sigmoid(own["resample_norm.mask"]), _gate(own)
    a, c = (own["fc1.weight"] @ enters.mT).unbind(2)
    stretch = _stretch((enters.shape[2], mask.shape[1]), enters.device, enters.dtype)
    r, s = (enters @ stretch * mask[:, None]).unbind(1)
    skip, norm = own / "resample_norm.norm", own / "gate_norm.add_norm.norm"
    return {"a": a, "c": c + own["fc1.bias"], "gate": gate.mT, "gate_bias": gate_bias, "r": r, "s": s,
            "rw": skip["weight"], "rb": skip["bias"], "nw": norm["weight"], "nb": norm["bias"]}


def _table(embedding: Tensor, joint: Tensor, w: Weights) -> tuple[Tensor, Tensor]:
    """Of each index of a category: its output (n, D) and its part in the weight network (n, hidden + V)."""
    sizes = embedding.shape[1], w["norm.weight"].shape[0]
    out = embedding if sizes[0] == sizes[1] else embedding @ _stretch(sizes, embedding.device, embedding.dtype)
    return Norm(w / "norm")(out * 2 * torch.sigmoid(w["mask"])), embedding @ joint


class Tft:
    """The transformer, built from tensors of one device and dtype."""

    def __init__(self, tensors: Mapping[str, Tensor], names: Variables, heads: int):
        w = Weights(tensors)
        lookup = {"embeddings": w / "input_embeddings.embeddings", "prescalers": w / "prescalers"}

        def selection(kind: str, reals: tuple[str, ...], categories: Mapping[str, int]) -> Selection:
            return Selection(w / f"{kind}_variable_selection", reals, tuple(categories), **lookup)

        self.select_static = selection("static", names.static_reals, names.static_categories)
        self.select_encoder = selection("encoder", (*names.known_reals, *names.observed), names.known_categories)
        self.select_decoder = selection("decoder", names.known_reals, names.known_categories)
        self.contexts = [
            Residual(w / f"static_context_{name}")
            for name in ("variable_selection", "initial_hidden_lstm", "initial_cell_lstm", "enrichment")
        ]
        self.encoder, self.decoder = (
            [w[f"lstm_{name}.{part}_l0"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            for name in ("encoder", "decoder")
        )
        self._encode, self._decode = _lstm(self.encoder), _lstm(self.decoder)
        self.post_lstm = Gate(w / "post_lstm_gate_encoder", w / "post_lstm_add_norm_encoder.norm")
        self.enrich = Residual(w / "static_enrichment")
        a = w / "multihead_attn"
        self.heads = heads
        self.query = [torch.cat([a[f"q_layers.{h}.{part}"] for h in range(heads)]) for part in ("weight", "bias")]
        self.key = [torch.cat([a[f"k_layers.{h}.{part}"] for h in range(heads)]) for part in ("weight", "bias")]
        self.value = [a["w_h.weight"] @ a["v_layer.weight"], a["w_h.weight"] @ a["v_layer.bias"]]
        self.post_attention = Gate(w / "post_attn_gate_norm.glu", w / "post_attn_gate_norm.add_norm.norm")
        self.feed_forward = Residual(w / "pos_wise_ff")
        self.pre_output = Gate(w / "pre_output_gate_norm.glu", w / "pre_output_gate_norm.add_norm.norm")
        self.output = [w["output_layer.weight"], w["output_layer.bias"]]

    def __call__(self, x: Mapping[str, Tensor]) -> Tensor:
        """Inputs as from ``features`` -> (B, P, outputs of one position) in model units.

        observed (B, T, observed reals); known (B or 1, T + P, known reals) and calendar (B or 1, T + P, categories),
        one row where all share it; static int64 (B, categories) and static_reals (B, static reals).
        """
        rows, steps = x["observed"].shape[:2]
        static = self.select_static(x["static_reals"], x["static"])
        selection, hidden, cell, enrichment = (grn(static) for grn in self.contexts)
        known, calendar = x["known"], x["calendar"]
        past = torch.cat([known[:, :steps].expand(rows, -1, -1), x["observed"]], -1)
        past = self.select_encoder(past, calendar[:, :steps].expand(rows, -1, -1), selection[:, None])
        future = self.select_decoder(known[:, steps:], calendar[:, steps:], selection[:, None])
        encoded, state = self._encode(past, (hidden[None], cell[None]))
        decoded, _ = self._decode(future, state)
        local = self.post_lstm(torch.cat([encoded, decoded], 1), torch.cat([past, future], 1))
        enriched = self.enrich(local, enrichment[:, None])
        attended = self.post_attention(self._attend(enriched, steps), enriched[:, steps:])
        out = self.pre_output(self.feed_forward(attended), local[:, steps:])
        return F.linear(out, *self.output)

    def _attend(self, x: Tensor, steps: int) -> Tensor:
        """Interpretable attention of the positions from ``steps`` on to all earlier ones; all heads share the values.
        (B, T + P, D) -> (B, P, D)."""
        length = x.shape[1]
        q = torch.unflatten(F.linear(x[:, steps:], *self.query), -1, (self.heads, -1)).transpose(1, 2)
        k = torch.unflatten(F.linear(x, *self.key), -1, (self.heads, -1)).transpose(1, 2)
        v = F.linear(x, *self.value)
        future = torch.ones(length - steps, length, dtype=torch.bool, device=x.device).triu(steps)  # own step and later
        inside = x.is_cuda and not torch.is_grad_enabled()
        return (attention_inside if inside else attention)(q, k, v, future)


def attention(q: Tensor, k: Tensor, v: Tensor, hidden: Tensor) -> Tensor:
    """Mean over heads of softmax(q k'), times v. q (B, heads, P, d), k (B, heads, T + P, d), v (B, T + P, D), hidden
    bool (P, T + P): keys that a position must not see -> (B, P, D)."""
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return scores.masked_fill_(hidden, -math.inf).softmax(-1).mean(1) @ v


def attention_inside(q: Tensor, k: Tensor, v: Tensor, hidden: Tensor) -> Tensor:
    """The same in one kernel that keeps the scores in a GPU's cache: a tenth of the network's time on an H100."""
    shared = v[:, None].expand(-1, q.shape[1], -1, -1)
    return F.scaled_dot_product_attention(q, k, shared, attn_mask=~hidden).mean(1)


def _lstm(weights: list[Tensor]) -> Callable[[Tensor, tuple[Tensor, Tensor]], tuple[Tensor, tuple[Tensor, Tensor]]]:
    """One batch-first layer from weights that may belong to another module; on a GPU, outside training, a module with a
    copy of the weights in the layout of cuDNN."""
    if weights[0].is_cuda and not any(w.requires_grad for w in weights):
        size = weights[1].shape[1]
        inputs, device, dtype = weights[0].shape[1], weights[0].device, weights[0].dtype
        layer = torch.nn.LSTM(inputs, size, batch_first=True, device=device, dtype=dtype)
        with torch.no_grad():
            for own, given in zip(layer.parameters(), weights, strict=True):
                own.copy_(given).requires_grad_(False)
        return layer

    def run(x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        out, hidden, cell = torch.lstm(x, state, weights, True, 1, 0.0, torch.is_grad_enabled(), False, True)
        return out, (hidden, cell)

    return run
