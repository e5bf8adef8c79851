// The operators in float64: rare, so plain loops.
#pragma once

#include <cstdint>

#include "activation.h"
#include "ort.h"
#include "tiling.h"
#include "window.h"

namespace onnxprune {

double activate(const Activation& activation, double x);

void plain_matmul(const Context& context, const Tiling& tiling, const Activation& activation, std::int64_t rows,
                  const double* x, const double* weight, const std::int64_t* index, const double* bias, double* y);

// `x` has shape [images, channels, spatial…], `shape` is the output's.
void plain_conv(const Context& context, const Tiling& tiling, const Activation& activation,
                const std::vector<WindowAxis>& window, const Tensor& x, const Shape& shape, const double* weight,
                const std::int64_t* index, const double* bias, double* y);

}  // namespace onnxprune
