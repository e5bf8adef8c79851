#include "pixel_cover.h"

#include <algorithm>

namespace onnxprune {

namespace {

constexpr double kWorthScattering = 0.95;  // of the vectors along rows, which need no sorting out of lanes

}  // namespace

PixelCover::PixelCover(const PhasePlanes& planes, int lanes) : lanes_(lanes) {
  const auto& output = planes.output();
  const auto& plane = planes.plane();
  const std::int64_t rows = output[0] * output[1];
  const std::int64_t span = ((output[0] - 1) * plane[1] + output[1] - 1) * plane[2] + output[2];
  const std::int64_t by_rows = rows * ((output[2] + lanes - 1) / lanes), by_plane = (span + lanes - 1) / lanes;
  const bool gapless = span == planes.output_size();
  if (static_cast<double>(by_plane) <= static_cast<double>(by_rows) * (gapless ? 1.0 : kWorthScattering)) {
    along_plane(planes, span);
  } else {
    along_rows(planes);
  }
}

void PixelCover::along_rows(const PhasePlanes& planes) {
  const auto& output = planes.output();
  const auto& plane = planes.plane();
  const std::int64_t width = output[2];
  unit_ = (width + lanes_ - 1) / lanes_;
  whole_ = width >= lanes_;
  reads_past_end_ = !whole_;
  for (std::int64_t row = 0; row < output[0] * output[1]; ++row) {
    const std::int64_t start = (row / output[1] * plane[1] + row % output[1]) * plane[2];
    for (std::int64_t x = 0; x < width; x += lanes_) {
      const std::int64_t at = whole_ ? std::min(x, width - lanes_) : x;
      inputs_.push_back(static_cast<std::int32_t>(start + at));
      outputs_.push_back(static_cast<std::int32_t>(row * width + at));
      runs_.push_back({0, static_cast<std::int32_t>(std::min<std::int64_t>(lanes_, width - at)), row * width + at});
      first_run_.push_back(runs_.size());
    }
  }
}

void PixelCover::along_plane(const PhasePlanes& planes, std::int64_t span) {
  const auto& output = planes.output();
  const auto& plane = planes.plane();
  whole_ = span == planes.output_size() && span >= lanes_;
  reads_past_end_ = span < lanes_;
  for (std::int64_t position = 0; position < span; position += lanes_) {
    const std::int64_t at = span >= lanes_ ? std::min(position, span - lanes_) : position;
    inputs_.push_back(static_cast<std::int32_t>(at));
    outputs_.push_back(static_cast<std::int32_t>(at));
    // a last vector that was moved back repeats lanes of its neighbour
    for (std::int64_t lane = whole_ ? 0 : position - at; lane < lanes_ && at + lane < span;) {
      const std::int64_t x = (at + lane) % plane[2], row = (at + lane) / plane[2];
      const std::int64_t y = row % plane[1], z = row / plane[1];
      if (x >= output[2] || y >= output[1]) {
        ++lane;
        continue;
      }
      const std::int64_t count = std::min({lanes_ - lane, output[2] - x, span - at - lane});
      runs_.push_back({static_cast<std::int32_t>(lane), static_cast<std::int32_t>(count),
                       (z * output[1] + y) * output[2] + x});
      lane += count;
    }
    first_run_.push_back(runs_.size());
  }
}

}  // namespace onnxprune
