"""Making networks: `data` → U-Net → loss → fit → `evaluation`, export.

The only room with torch. Nothing here runs while a microscope does; what leaves is one ONNX file with its
model card inside, and everything a restorer needs to know is in that file.
"""
