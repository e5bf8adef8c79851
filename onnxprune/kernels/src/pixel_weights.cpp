#include "pixel_weights.h"

#include <algorithm>

namespace onnxprune {

PixelWeights::PixelWeights(const Isa& isa, const Tiling& tiling, std::int64_t taps, const float* weight,
                           const std::int64_t* index)
    : kept(tiling, index) {
  std::int64_t size = 0;
  for (std::int64_t tile = 0; tile < tiling.tiles; ++tile) {
    first_bundle.push_back(bundles.size());
    most_rows = std::max(most_rows, kept.count(tile));
    const std::int64_t width = tiling.valid_width(tile);
    for (std::int64_t from = 0; from < width; from += isa.channels) {
      const int channels = static_cast<int>(std::min<std::int64_t>(isa.channels, width - from));
      bundles.push_back({tile * tiling.width + from, channels, size});
      size += kept.count(tile) * taps * channels;
    }
  }
  first_bundle.push_back(bundles.size());
  values = Floats(static_cast<std::size_t>(size));
  for (std::int64_t tile = 0; tile < tiling.tiles; ++tile) {
    for (const Bundle* bundle = begin(tile); bundle != end(tile); ++bundle) {
      float* to = values.data() + bundle->start;
      for (const auto* row = kept.begin(tile); row != kept.begin(tile) + kept.count(tile); ++row) {
        for (std::int64_t tap = 0; tap < taps; ++tap) {
          for (int c = 0; c < bundle->channels; ++c) {
            *to++ = weight[((bundle->output + c) * tiling.rows + row->weight) * taps + tap];
          }
        }
      }
    }
  }
}

}  // namespace onnxprune
