// Weights of a matrix product as the row kernels read them.
#pragma once

#include "isa.h"
#include "memory.h"
#include "tiling.h"

namespace onnxprune {

// Each tile is cut into strips as wide as a row kernel, its last one filled with zeros:
// weights [strip][row of its tile][lane].
struct RowWeights {
  struct Strip {
    std::int64_t tile;
    std::int64_t output;   // first output of the layer
    std::int64_t outputs;  // how many of them the layer has
    std::int64_t start;    // in `values`
  };

  RowWeights(const Isa& isa, const Tiling& tiling, const float* weight, const std::int64_t* index);

  KeptInputs kept;
  std::vector<std::int32_t> inputs;  // those of each tile, one after the other
  std::vector<std::int32_t> lines;   // of those the first in each cache line, likewise
  std::vector<std::int64_t> first_line;
  std::vector<Strip> strips;
  Floats values;
  std::int64_t most_rows = 0;  // of a tile
};

}  // namespace onnxprune
