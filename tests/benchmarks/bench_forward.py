"""The default model's forward pass beside the arithmetic it needs, ONNX Runtime, the library's module and predict()."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch

from forecaster.models import network
from forecaster.models.artifact import DEFAULT
from forecaster.models.model import Model
from forecaster.training.library import build_network
from tests.benchmarks.inputs import inputs
from tests.benchmarks.measure import Line, seconds, side_by_side
from tests.library_network import library_inputs

MANY, FEW = 1000, 20
SIZE = 1024  # of the square matrices that tell the machine's rate


def operations(model: Model, steps: int) -> float:
    """Floating point operations of one server's matrix products and attention, as the folded pass needs them: two for
    each weight and position, keys after a query's own step left out. Elementwise work is not counted."""
    tft, horizon = model.engine.eager.network.tft, model.encoding.horizon
    size = tft.encoder[1].shape[1]

    def selection(of, own: int, shared: int) -> int:
        variables, units = of.skip_gate.shape[0], of.real["a"].shape[1]
        joint = own * (of.hidden + variables) + of.hidden * 2 * variables
        return joint + own * (units + 2 * units * size) + (own + shared) * size

    observed = len(model.encoding.variables.observed)
    shared = len(model.encoding.variables.known_reals) + len(model.encoding.variables.known_categories)
    residual, gate = 3 * size * size, 2 * size * size
    each = 8 * size * size + gate + residual + 2 * size * size  # LSTM, gate, enrichment, key and value
    keys = horizon * steps + horizon * (horizon - 1) // 2
    decoded = size * size + gate + residual + gate + size * tft.output[0].shape[0]
    total = steps * (selection(tft.select_encoder, observed, shared) + each)
    total += horizon * (selection(tft.select_decoder, 0, shared) + each + decoded)
    total += keys * 2 * size
    total += network.LAGS * observed * len(network.ANCHORS) * 8 + horizon * 8 * len(network.ANCHORS)
    return 2.0 * total


def library_of(model: Model):
    """The library's module with the model's weights."""
    outputs = model.weights["output_layer.bias"].shape[0]
    library = build_network(model.encoding.variables, model.architecture, model.encoding.encoder_steps, outputs).eval()
    own = dict(library.named_parameters())  # what the library lists under two names comes once
    library.load_state_dict({k: torch.as_tensor(v) for k, v in model.weights.items() if k in own}, strict=False)
    return library


class Exported(torch.nn.Module):
    """The network as a module with an argument for each input, as the exporter wants it."""

    def __init__(self, network: network.Network, names: list[str]):
        super().__init__()
        self.network, self.names = network, names

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        return self.network(dict(zip(self.names, tensors, strict=True)))


Inputs = Mapping[str, np.ndarray]


def under_onnx_runtime(network: network.Network, x: Inputs) -> Callable[[Inputs], np.ndarray]:
    """The network under ONNX Runtime on the CPU, for any number of rows; ``x`` are inputs to export it with."""
    import onnxruntime

    rows, names = len(x["observed"]), list(x)
    shapes = tuple({0: torch.export.Dim("rows")} if len(v) == rows else None for v in x.values())
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.onnx.export(
            Exported(network, names), tuple(torch.as_tensor(v) for v in x.values()), dynamo=True, verbose=False,
            input_names=names, dynamic_shapes=(shapes,),
        )
    session = onnxruntime.InferenceSession(made.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, dict(x))[0]


def lines() -> Iterator[Line]:
    for name in ("lightning.pytorch", "torch.onnx"):
        logging.getLogger(name).setLevel(logging.ERROR)
    model = Model.load(DEFAULT, "cpu")
    library, fused = library_of(model), model.engine.fused
    matrix = torch.randn(SIZE, SIZE)
    many = inputs(model, MANY)
    as_library = library_inputs({k: torch.as_tensor(v) for k, v in many.items()})
    few = inputs(model, FEW)
    onnx = under_onnx_runtime(model.engine.eager.network, few)

    def eager():
        with torch.inference_mode():
            return library(as_library)["prediction"]

    passes = {"fused": lambda: fused(many), "onnx": lambda: onnx(many), "eager": eager}
    took = side_by_side({"rate": lambda: matrix @ matrix, **passes}, 9, 2)
    rate = 2 * SIZE**3 / took["rate"]
    floor = MANY * operations(model, model.encoding.encoder_steps) / rate
    yield Line("operations of one server", operations(model, model.encoding.encoder_steps) / 1e6, "MFLOP")
    yield Line("the machine's float32 matrix rate", rate / 1e9, "GFLOP/s", f"torch, {SIZE} x {SIZE}")
    yield Line(f"floor of {MANY} servers", 1000 * floor, "ms", "operations / rate")
    yield Line(f"compiled pass, {MANY} servers", 1000 * took["fused"], "ms")
    yield Line(f"compiled pass over its floor, {MANY} servers", took["fused"] / floor, "x", "", 2.0)
    yield Line(f"ONNX Runtime, {MANY} servers", 1000 * took["onnx"], "ms", "the network, exported by torch.onnx")
    yield Line(
        f"library's eager module, {MANY} servers", 1000 * took["eager"], "ms", "pytorch-forecasting, same weights"
    )
    yield Line("eager module over compiled pass", took["eager"] / took["fused"], "x", "", 2.5, more=True)
    found, expected = _transformer_alone(model, many), eager().numpy()
    yield Line(
        "largest difference, model units", float(np.abs(found - expected).max()), "", "to the eager module", 1e-4
    )

    frame, parameters = _frame(model, few)
    library.dataset_parameters = parameters

    def predict():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return library.predict(frame, mode="raw", trainer_kwargs={"logger": False, "enable_progress_bar": False,
                                                                      "accelerator": "cpu"})

    took = side_by_side({"fused": lambda: fused(few), "onnx": lambda: onnx(few), "predict": predict}, 7, 1)
    yield Line(f"compiled pass, {FEW} servers", 1000 * took["fused"], "ms")
    yield Line(f"ONNX Runtime, {FEW} servers", 1000 * took["onnx"], "ms")
    yield Line(f"predict() on a DataFrame, {FEW} servers", 1000 * took["predict"], "ms", "pytorch-forecasting")
    yield Line("predict() over compiled pass", took["predict"] / took["fused"], "x", "", 15.0, more=True)
    yield Line(
        "compiling when a model is loaded", seconds(lambda: Model.load(DEFAULT, "cpu"), 3), "s", "whole Model.load"
    )


def _transformer_alone(model: Model, x: dict[str, np.ndarray]) -> np.ndarray:
    from forecaster.models.compiled.fused import Fused

    return Fused(model.engine.eager.network.tft, model.encoding.horizon)(x)


def _frame(model: Model, x: dict[str, np.ndarray]):
    """The same inputs as a DataFrame and what TimeSeriesDataSet is told to cut them."""
    import pandas as pd
    from pytorch_forecasting import TimeSeriesDataSet

    names, (rows, steps, _) = model.encoding.variables, x["observed"].shape
    total = x["known"].shape[1]
    columns = {"row": np.repeat(np.arange(rows).astype(str), total), "time": np.tile(np.arange(total), rows)}
    for i, name in enumerate(names.observed):
        columns[name] = np.pad(x["observed"][..., i], ((0, 0), (0, total - steps))).ravel()
    for i, name in enumerate(names.known_reals):
        columns[name] = np.tile(x["known"][0, :, i], rows)
    for i, name in enumerate(names.known_categories):
        columns[name] = np.tile(x["calendar"][0, :, i], rows).astype(str)
    for i, name in enumerate(names.static_categories):
        columns[name] = np.repeat(x["static"][:, i], total).astype(str)
    columns[names.static_reals[0]] = np.repeat(x["static_reals"][:, 0], total)
    frame = pd.DataFrame(columns)
    data = TimeSeriesDataSet(
        frame, time_idx="time", target=names.observed[0], group_ids=["row"], max_encoder_length=steps,
        max_prediction_length=total - steps, static_categoricals=[*names.static_categories],
        static_reals=[*names.static_reals], time_varying_known_categoricals=[*names.known_categories],
        time_varying_known_reals=[*names.known_reals], time_varying_unknown_reals=[*names.observed],
        target_normalizer=None, scalers={n: None for n in names.reals if n != names.observed[0]},
    )
    return frame, data.get_parameters() | {"predict_mode": True}
