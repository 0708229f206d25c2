"""A compiler: a 3D network becomes a schedule of 2D operations, plane by plane, while the stack is still recorded.

A tensor of the network is a row of planes here, and a 3D convolution is a sum of 2D convolutions of neighbouring
planes. So every plane can be computed as soon as what it reads is there, nothing is computed twice, and the sum over
all planes is the whole-volume result. Inference libraries are also quickest at 2D convolutions: onnxruntime runs them
at twice the speed of its 3D ones.

::

    frontend   ONNX file → the network at one size
    motion     which plane reads which (integers only)
    ir         planes, operations and plane sums; builder writes programs of them
    unroll     network → program: one rule an operator
    passes     program → program: each saves work and changes nothing but the order of sums
    schedule   program → steps by arrival, with what is carried from one to the next
    emit       step → ONNX file
    plan       all of this for one size
    caches     sessions that hand values to each other
    stream     one volume through a plan, while it comes
    whole_volume  a complete volume as a stream
    tiles      fields of any size: one stream a tile
    cost       whether streaming pays
"""
