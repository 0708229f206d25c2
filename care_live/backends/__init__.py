"""All that runs a model file: ONNX Runtime, CUDA and OpenVINO, each behind one door. Other rooms get arrays."""
