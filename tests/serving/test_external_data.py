import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from medtune.serving.external_data import external_files


def external() -> TensorProto:
    tensor = numpy_helper.from_array(np.ones(2, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    return tensor


def inline() -> TensorProto:
    return numpy_helper.from_array(np.ones(2, np.float32), "w")


def as_initializer(tensor):
    return helper.make_model(helper.make_graph([], "g", [], [], [tensor]))


def as_constant(tensor):
    return helper.make_model(helper.make_graph([helper.make_node("Constant", [], ["c"], value=tensor)], "g", [], []))


def in_subgraph(tensor):
    branch = helper.make_graph([], "branch", [], [], [tensor])
    node = helper.make_node("If", ["c"], ["o"], then_branch=branch, else_branch=branch)
    return helper.make_model(helper.make_graph([node], "g", [], []))


def in_function(tensor):
    node = helper.make_node("Constant", [], ["c"], value=tensor)
    function = helper.make_function("d", "f", [], ["c"], [node], [helper.make_opsetid("", 20)])
    return helper.make_model(helper.make_graph([], "g", [], []), functions=[function])


def as_sparse(tensor):
    model = helper.make_model(helper.make_graph([], "g", [], []))
    model.graph.sparse_initializer.add().values.CopyFrom(tensor)
    return model


LOCATIONS = [as_initializer, as_constant, in_subgraph, in_function, as_sparse]


@pytest.mark.parametrize("location", LOCATIONS)
def test_external_files__finds_references_at_any_depth(location):
    assert external_files(location(inline()).SerializeToString()) == set()
    assert external_files(location(external()).SerializeToString()) == {"../secret"}


def test_external_files__reference_without_a_path_is_an_empty_name():
    tensor = inline()
    tensor.data_location = TensorProto.EXTERNAL
    assert external_files(as_initializer(tensor).SerializeToString()) == {""}
    tensor.external_data.add(key="offset", value="4")
    assert external_files(as_initializer(tensor).SerializeToString()) == {""}


def test_external_files__rejects_invalid_bytes():
    content = as_initializer(inline()).SerializeToString()
    for broken in (content[:-3], b"\xff" * 40, b"\x0f\x0f"):
        with pytest.raises(ValueError):
            external_files(broken)


def test_external_files__rejects_deep_nesting():
    def field(number: int, content: bytes) -> bytes:
        size = len(content)
        return bytes([number << 3 | 2, size & 0x7F | 0x80, size >> 7]) + content

    graph = b""
    for _ in range(100):  # nest graphs in attributes of nodes
        graph = field(1, field(5, field(6, graph)))
    with pytest.raises(ValueError, match="deep"):
        external_files(field(7, graph))
