"""Small ONNX models made by hand."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

#: What QONNX's operators are in.
QONNX = "qonnx.custom_op.general"


#: Zero point of signed integers.
ZERO = np.int8(0)


class Model:
    """Nodes and constants; `save` checks nothing."""

    def __init__(self, shape=(2, 4, 4), dtype=TensorProto.FLOAT, **constants):
        self.shape, self.dtype, self.nodes, self.constants = shape, dtype, [], dict(constants)

    def add(self, operator, inputs, output, domain="", **attributes):
        """A node; an input that is an array becomes a constant."""
        names = []
        for value in inputs:
            if not isinstance(value, str):
                name = f"{output}.{len(names)}"
                self.constants[name] = np.asarray(value)
                value = name
            names.append(value)
        outputs = [output] if isinstance(output, str) else output
        node = helper.make_node(operator, names, outputs, name=f"make_{outputs[0]}", domain=domain, **attributes)
        self.nodes.append(node)
        return self

    def quant(self, value, output, scale, bits, *, signed=True, narrow=False, zero=0.0, mode="ROUND"):
        """QONNX's Quant."""
        numbers = [np.asarray(number, np.float32) for number in (scale, zero, bits)]
        rest = {"signed": int(signed), "narrow": int(narrow), "rounding_mode": mode}
        return self.add("Quant", [value, *numbers], output, QONNX, **rest)

    def code(self, value, output, scale, zero=ZERO):
        """QuantizeLinear and DequantizeLinear, as `output` and ``output.q``."""
        scale = np.float32(scale)
        self.add("QuantizeLinear", [value, scale, zero], f"{output}.q")
        return self.add("DequantizeLinear", [f"{output}.q", scale, zero], output)

    def weights(self, output, integers, scale, dtype=np.int8):
        """DequantizeLinear of constants, one scale or one for each of the first axis."""
        scale = np.asarray(scale, np.float32)
        return self.add("DequantizeLinear", [np.asarray(integers).astype(dtype), scale], output, axis=0)

    def proto(self, output, opset=21):
        given = helper.make_tensor_value_info("x", self.dtype, ["n", *self.shape])
        result = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n"])
        tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in self.constants.items()]
        graph = helper.make_graph(self.nodes, "made", [given], [result], tensors)
        imports = [
            helper.make_opsetid("", opset),
            *(helper.make_opsetid(domain, 1) for domain in (QONNX, "onnx.brevitas", "com.microsoft")),
        ]
        return helper.make_model(graph, opset_imports=imports, ir_version=10)

    def integers(self, name, x, dtype=TensorProto.INT8, output="y"):
        """Integers of a value by onnxruntime, for real inputs; without its rewriting, which is wrong at times."""
        proto = self.proto(output)
        proto.graph.output.append(helper.make_tensor_value_info(name, dtype, None))
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
        return session.run([name], {"x": x.astype(np.float32)})[0].astype(np.int64)

    def save(self, path, output):
        onnx.save(self.proto(output), path)
        return path
