"""The binary containers of exported files, read and rewritten: flatbuffers (.tflite, .pte) and ONNX graphs."""
