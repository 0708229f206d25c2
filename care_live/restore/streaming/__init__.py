"""Run a 3D network plane by plane while the stack is still being recorded.

A tensor of the network is here a row of planes, and a 3D convolution is a sum of 2D convolutions of
neighbouring planes. So every plane can be computed as soon as what it reads is there, nothing is computed
twice, and the sum over all planes is the whole-volume result. 2D convolutions are also what inference
libraries do best: onnxruntime runs them at twice the speed of its 3D ones.

``timeline`` says which plane reads which (integers only) · ``network`` reads the ONNX file at one size ·
``lower`` and ``convolve`` write it out plane by plane as a ``program``, where ``pairs`` and ``blocks`` of planes save
work · ``derive`` cuts that into steps and ``graphs`` makes each step an ONNX file · ``plan`` is all of this for one
size · ``chained`` and ``stream`` run it, ``field`` on fields of any size, ``whole`` on volumes that are complete ·
``cost`` decides whether it pays.
"""
