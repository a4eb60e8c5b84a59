"""Are the labels themselves right: where people disagree, where a model does, what stands out."""
