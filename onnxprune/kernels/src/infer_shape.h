// Shapes of the operators' outputs, for onnxruntime's graph.
#pragma once

#include "ort_abi.h"

namespace onnxprune {

enum class Family { kMatMul, kConv };

// Sets the shape of the output as far as it is known; does nothing where nothing is.
void infer_shape(abi::Table table, abi::ShapeInferContext* context, Family family) noexcept;

}  // namespace onnxprune
