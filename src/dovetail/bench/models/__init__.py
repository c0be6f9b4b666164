"""What calling a model costs: eager PyTorch, TorchScript, the compiled code from bare C, ours."""

from dovetail.bench.models.run import BATCHES, ModelReport, bench_models

__all__ = ["BATCHES", "ModelReport", "bench_models"]
