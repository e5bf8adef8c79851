#include "conv_method.h"

#include <algorithm>
#include <limits>

namespace onnxprune {

namespace {

constexpr std::int64_t kWorthATask = 1 << 19;  // multiplications
constexpr std::int64_t kMostTasks = 128;
constexpr std::int64_t kWorthTransposing = 128;  // products in a sum, below which vectors of pixels are faster

std::size_t copied_size(const PhasePlanes& planes, const Shape& image, std::int64_t images, std::int64_t slack) {
  const std::int64_t channels = checked_product(images, image[0], "The input");
  return static_cast<std::size_t>(checked_product(channels, planes.channel_size(), "The input") + slack);
}

}  // namespace

std::unique_ptr<ConvMethod> choose_conv(const ConvLayer& layer, const float* weight, const std::int64_t* index) {
  // Broadcasting pixels to vectors of channels needs fewer loads than the other way round, and wastes no lanes on
  // the edges of images; but only where tiles fill the vectors, and sums are long enough for turning them around.
  const std::int64_t width = layer.tiling.width, strip = layer.isa.strip;
  const bool filled = 4 * width >= 3 * ((width + strip - 1) / strip * strip);
  const bool rows = filled && layer.tiling.rows * layer.taps >= kWorthTransposing;
  return rows ? conv_by_rows(layer, weight, index) : conv_by_pixels(layer, weight, index);
}

LaidOut::LaidOut(const Context& context, const Isa& isa, const PhasePlanes& planes, bool copy, const Shape& image,
                 std::int64_t images, std::int64_t slack, const float* x)
    : copy_(ScratchPool::shared().borrow(copy ? copied_size(planes, image, images, slack) : 0)), data_(x) {
  if (!copy) return;
  const std::int64_t channels = images * image[0];
  const std::int64_t size = element_count(Shape(image.begin() + 1, image.end()), "x");
  context.parallel_for(channels, [&](std::int64_t channel) {
    planes.fill(isa, x + channel * size, copy_.data() + channel * planes.channel_size());
  });
  std::fill_n(copy_.data() + channels * planes.channel_size(), slack, 0.0F);
  data_ = copy_.data();
}

std::vector<std::int32_t> plane_offsets(const KeptInputs& kept, const PhasePlanes& planes, const Shape& image) {
  if (checked_product(image[0], planes.channel_size(), "The input") > std::numeric_limits<std::int32_t>::max()) {
    throw BadInput("An image of shape " + show(image) + " is too large: it takes more than 2^31 - 1 values.");
  }
  std::vector<std::int32_t> offsets;
  offsets.reserve(static_cast<std::size_t>(kept.total()) * planes.taps().size());
  const auto* const end = kept.begin(0) + kept.total();
  for (const auto* row = kept.begin(0); row != end; ++row) {
    for (const std::int64_t tap : planes.taps()) {
      offsets.push_back(static_cast<std::int32_t>(row->input * planes.channel_size() + tap));
    }
  }
  return offsets;
}

std::int64_t wanted_tasks(std::int64_t multiplications) {
  return std::clamp<std::int64_t>(multiplications / kWorthATask, 1, kMostTasks);
}

}  // namespace onnxprune
