// Weights of a convolution as the pixel kernels read them.
#pragma once

#include "isa.h"
#include "memory.h"
#include "tiling.h"

namespace onnxprune {

// Each tile is cut into bundles of as many output channels as a pixel kernel has, its last bundle may have fewer:
// weights [bundle][row of its tile][tap][channel].
struct PixelWeights {
  struct Bundle {
    std::int64_t output;  // first output channel of the layer
    int channels;
    std::int64_t start;  // in `values`
  };

  PixelWeights(const Isa& isa, const Tiling& tiling, std::int64_t taps, const float* weight, const std::int64_t* index);

  // The bundles of a tile are [begin, end).
  const Bundle* begin(std::int64_t tile) const { return bundles.data() + first_bundle[static_cast<std::size_t>(tile)]; }
  const Bundle* end(std::int64_t tile) const { return begin(tile + 1); }

  KeptInputs kept;
  std::vector<Bundle> bundles;
  std::vector<std::size_t> first_bundle;  // of each tile, and the end
  Floats values;
  std::int64_t most_rows = 0;  // of a tile
};

}  // namespace onnxprune
