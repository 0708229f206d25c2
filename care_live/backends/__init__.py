"""All that runs a model file: ONNX Runtime, CUDA and OpenVINO, each called by one module. Other rooms get arrays."""
