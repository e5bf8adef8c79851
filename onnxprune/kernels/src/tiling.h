// Which inputs each output tile of a layer keeps.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "ort.h"

namespace onnxprune {

// The sizes of a tiled weight: `tiles` tiles of `width` outputs, each with `rows` inputs in blocks of `block`.
struct Tiling {
  std::int64_t tiles;
  std::int64_t rows;
  std::int64_t width;
  std::int64_t block;
  std::int64_t inputs;   // of the layer; its last block may be cut short by them
  std::int64_t outputs;  // of the layer; the last tile may be cut short by them

  std::int64_t blocks() const { return rows / block; }
  std::int64_t all_blocks() const { return (inputs + block - 1) / block; }
  // Outputs of a tile that the layer has.
  std::int64_t valid_width(std::int64_t tile) const { return std::min(width, outputs - tile * width); }
};

// Throws BadInput where sizes contradict each other, or `index`, int64 [tiles, blocks], or `bias`.
void check_tiling(const Tiling& tiling, const Tensor& index, const Tensor& bias);

// The inputs of each tile, block by block, without those that the layer does not have.
class KeptInputs {
 public:
  struct Row {
    std::int32_t input;   // of the layer
    std::int32_t weight;  // row of the tile's weights
  };

  // Throws BadInput where a block of `index` does not exist.
  KeptInputs(const Tiling& tiling, const std::int64_t* index);

  const Row* begin(std::int64_t tile) const { return rows_.data() + first_[static_cast<std::size_t>(tile)]; }
  std::int64_t count(std::int64_t tile) const {
    return first_[static_cast<std::size_t>(tile) + 1] - first_[static_cast<std::size_t>(tile)];
  }
  std::int64_t first(std::int64_t tile) const { return first_[static_cast<std::size_t>(tile)]; }
  std::int64_t total() const { return first_.back(); }

 private:
  std::vector<std::int64_t> first_;
  std::vector<Row> rows_;
};

}  // namespace onnxprune
