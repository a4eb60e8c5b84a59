"""The object detector: training, inference, export and quantization of a YOLO network."""
