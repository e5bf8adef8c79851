// A layer's weights on a device, and launches that compute it.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "activation.h"
#include "cuda_driver.h"
#include "cuda_launch.h"
#include "ort.h"
#include "tiling.h"

namespace onnxprune::cuda {

using Sizes = std::array<std::int64_t, 3>;  // along z, y and x; what a layer lacks is 1

// The geometry of a layer. A matrix product has kernels of 1.
struct Geometry {
  Sizes kernel{1, 1, 1}, dilation{1, 1, 1}, stride{1, 1, 1}, pad{0, 0, 0};
  bool planar = false;

  std::int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
};

// Inputs of one call: rows, or images of some size.
struct Batch {
  std::int64_t images = 1;
  Sizes image{1, 1, 1};
  Sizes output{1, 1, 1};

  std::int64_t pixels() const { return output[0] * output[1] * output[2]; }
};

// Returns the place in kShapes of the blocks that take the least time, as far as is known, for a tile width and a number
// of rows and outputs; negative where tiles are too narrow for all. `wanted`, such as "64x64", is taken where it fits.
int choose_shape(std::int64_t rows, std::int64_t outputs, std::int64_t width, int processors,
                 const std::string& wanted);

// Returns the shape that tests and measurements ask for by ONNXPRUNE_CUDA_SHAPE, or "".
std::string wanted_shape();

class DeviceLayer {
 public:
  // `index` lies in the host's memory, the weight in the device's. Throws BadInput and Unavailable.
  DeviceLayer(const Info& info, const Tiling& tiling, const Geometry& geometry, const Activation& activation,
              const Tensor& weight, const std::int64_t* index);

  // Computes y of x on the call's stream.
  void run(const Context& context, const Batch& batch, const Tensor& x, const Tensor& bias, const Tensor& y) const;

 private:
  std::int64_t element_bytes() const { return type_ == ElementType::kFloat ? 4 : 2; }
  Multiplied multiplied(const Context& context) const;
  const void* lay_out(const Context& context, const Batch& batch, const Sizes& padded, const Tensor& x,
                      const Device& on, std::int64_t* channels, DeviceMemory* scratch) const;

  Tiling tiling_;
  Geometry geometry_;
  Activation activation_;
  ElementType type_;
  std::int64_t steps_ = 0;
  const Device* device_ = nullptr;
  DeviceMemory chunks_;
  DeviceMemory weight_;
  std::string shape_;  // that was asked for
  mutable std::atomic<int> tf32_{-1};  // what the session says; -1 before it was asked
};

}  // namespace onnxprune::cuda
