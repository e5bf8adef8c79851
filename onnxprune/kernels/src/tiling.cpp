#include "tiling.h"

#include <algorithm>
#include <limits>

namespace onnxprune {

void check_tiling(const Tiling& tiling, const Tensor& index, const Tensor& bias) {
  const auto fail = [](const std::string& text) { throw BadInput(text); };
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  if (tiling.block < 1) fail("The block must have at least one input, not " + std::to_string(tiling.block) + ".");
  if (tiling.inputs < 1 || tiling.inputs > kMost) {
    fail("A layer must have 1 to 2^31 - 1 inputs, not " + std::to_string(tiling.inputs) + ".");
  }
  if (tiling.rows % tiling.block != 0) {
    fail("The weight has " + std::to_string(tiling.rows) + " inputs in each tile, no multiple of the block, " +
         std::to_string(tiling.block) + ".");
  }
  if (tiling.tiles < 1 || tiling.width < 1) fail("The weight has no tile, or tiles without outputs.");
  const std::int64_t padded = checked_product(tiling.tiles, tiling.width, "The number of outputs");
  if (padded > kMost || tiling.outputs > padded || tiling.outputs <= padded - tiling.width) {
    fail(std::to_string(tiling.tiles) + " tiles of " + std::to_string(tiling.width) + " outputs do not make " +
         std::to_string(tiling.outputs) + " outputs.");
  }
  const Shape wanted{tiling.tiles, tiling.blocks()};
  if (index.shape != wanted) fail("index has shape " + show(index.shape) + ", not " + show(wanted) + ".");
  if (bias.present() && bias.shape != Shape{padded}) {
    fail("bias has shape " + show(bias.shape) + ", not [" + std::to_string(padded) + "].");
  }
}

KeptInputs::KeptInputs(const Tiling& tiling, const std::int64_t* index) {
  const std::int64_t blocks = tiling.blocks(), most = tiling.all_blocks();
  first_.reserve(static_cast<std::size_t>(tiling.tiles) + 1);
  rows_.reserve(static_cast<std::size_t>(checked_product(tiling.tiles, tiling.rows, "The index")));
  for (std::int64_t tile = 0; tile < tiling.tiles; ++tile) {
    first_.push_back(static_cast<std::int64_t>(rows_.size()));
    for (std::int64_t place = 0; place < blocks; ++place) {
      const std::int64_t block = index[tile * blocks + place];
      if (block < 0 || block >= most) {
        throw BadInput("index[" + std::to_string(tile) + ", " + std::to_string(place) + "] is " +
                       std::to_string(block) + "; the layer has " + std::to_string(most) + " blocks of inputs.");
      }
      const std::int64_t start = block * tiling.block, end = std::min(start + tiling.block, tiling.inputs);
      for (std::int64_t input = start; input < end; ++input) {
        const std::int64_t weight = place * tiling.block + (input - start);
        rows_.push_back({static_cast<std::int32_t>(input), static_cast<std::int32_t>(weight)});
      }
    }
  }
  first_.push_back(static_cast<std::int64_t>(rows_.size()));
}

}  // namespace onnxprune
