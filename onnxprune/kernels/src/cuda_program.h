// Kernels compiled for a device by NVRTC, and kept on disk.
#pragma once

#include <string>

#include "cuda_driver.h"
#include "cuda_launch.h"

namespace onnxprune::cuda {

// Kernels that multiply; one for each of kShapes.
struct Products {
  Handle functions[kShapeCount];
};

// Kernels that lay weights and inputs out anew.
struct Copies {
  Handle weight, image, rows;
};

constexpr int kOldestArchitecture = 80;

// Return the kernels, compiled at most once for each device. Throw Unavailable with what keeps them from being so.
const Products& products(const Device& device, Multiplied multiplied);
const Copies& copies(const Device& device, Multiplied multiplied);

// The source of all kernels.
const char* source();

}  // namespace onnxprune::cuda
