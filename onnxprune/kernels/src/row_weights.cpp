#include "row_weights.h"

#include <algorithm>

namespace onnxprune {

namespace {

constexpr std::int32_t kLineFloats = 16;

}  // namespace

RowWeights::RowWeights(const Isa& isa, const Tiling& tiling, const float* weight, const std::int64_t* index)
    : kept(tiling, index) {
  inputs.reserve(static_cast<std::size_t>(kept.total()));
  std::int64_t size = 0;
  for (std::int64_t tile = 0; tile < tiling.tiles; ++tile) {
    const std::int64_t rows = kept.count(tile);
    most_rows = std::max(most_rows, rows);
    first_line.push_back(static_cast<std::int64_t>(lines.size()));
    std::int32_t line = -1;
    for (const auto* row = kept.begin(tile); row != kept.begin(tile) + rows; ++row) {
      inputs.push_back(row->input);
      if (row->input / kLineFloats != line) lines.push_back(row->input);
      line = row->input / kLineFloats;
    }
    const std::int64_t width = tiling.valid_width(tile);
    for (std::int64_t from = 0; from < width; from += isa.strip) {
      strips.push_back({tile, tile * tiling.width + from, std::min<std::int64_t>(isa.strip, width - from), size});
      size += rows * isa.strip;
    }
  }
  first_line.push_back(static_cast<std::int64_t>(lines.size()));
  values = Floats(static_cast<std::size_t>(size));
  for (const Strip& strip : strips) {
    float* to = values.data() + strip.start;
    const std::int64_t column = strip.output - strip.tile * tiling.width;
    const auto* const end = kept.begin(strip.tile) + kept.count(strip.tile);
    for (const auto* row = kept.begin(strip.tile); row != end; ++row, to += isa.strip) {
      const float* const from = weight + (strip.tile * tiling.rows + row->weight) * tiling.width + column;
      std::fill(std::copy(from, from + strip.outputs, to), to + isa.strip, 0.0F);
    }
  }
}

}  // namespace onnxprune
