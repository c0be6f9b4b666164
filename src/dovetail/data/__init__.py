"""Datasets: named arrays with attributes, and how they lie in safetensors."""

from dovetail.data.arrays import Attributes, Value
from dovetail.data.dataset import Dataset
from dovetail.data.layout import Variable

__all__ = ["Attributes", "Dataset", "Value", "Variable"]
