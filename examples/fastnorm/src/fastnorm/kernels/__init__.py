"""The package's kernels; each one is called with arrays: `softmax(x, y)`, or `y = softmax(x)`."""

from fastnorm.kernels.elementwise import add, bias_gelu_residual, gelu, scale
from fastnorm.kernels.matmul import matmul
from fastnorm.kernels.norms import layernorm, rmsnorm, softmax, softmax_online

__all__ = ["add", "bias_gelu_residual", "gelu", "layernorm", "matmul", "rmsnorm", "scale", "softmax", "softmax_online"]
