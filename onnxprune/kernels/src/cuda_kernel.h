// The operators on a CUDA device.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "kernel.h"
#include "tiling.h"
#include "window.h"

namespace onnxprune::cuda {

// Returns why the kernels do not cover a layer, as a sentence, or "". A matrix product has an empty window.
std::string uncovered(ElementType type, const Tiling& tiling, const std::vector<WindowAxis>& window);

std::unique_ptr<Kernel> make_matmul(abi::Table table, const Info& info, const Activation& activation, ElementType type,
                                    bool on_device);
std::unique_ptr<Kernel> make_conv(abi::Table table, const Info& info, const Activation& activation, ElementType type,
                                  bool on_device);

}  // namespace onnxprune::cuda
