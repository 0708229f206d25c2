"""Run a 3D network plane by plane while the stack is still being recorded.

A tensor of the network is here a row of planes, and a 3D convolution is a sum of 2D convolutions of
neighbouring planes. So every plane can be computed as soon as what it reads is there, nothing is computed
twice, and the sum over all planes is the whole-volume result. 2D convolutions are also what inference
libraries do best: onnxruntime runs them at twice the speed of its 3D ones.

``timeline`` says which plane reads which (integers only) · ``network`` reads the ONNX file at one size ·
``program`` and ``lower`` write it out plane by plane · ``derive`` cuts that into one graph a step ·
``cost`` decides whether it pays · ``stream`` runs it.
"""
