"""The learner that finds objects: an ultralytics network, trained in torch, served on OpenVINO."""
