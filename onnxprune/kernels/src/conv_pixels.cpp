// A convolution with output pixels in the lanes, for tiles narrower than a vector of channels.
//
//     for each image: for each band of positions: for each tile: for each chunk of channels:
//         for each few vectors of the band: for each bundle of the tile's outputs: one pixel kernel
//
// A band's share of the input stays in the second-level cache while the tiles pass by, a chunk's in the first-level.
#include <algorithm>

#include "conv_method.h"
#include "pixel_cover.h"
#include "pixel_weights.h"

namespace onnxprune {

namespace {

constexpr std::int64_t kBandVectors = 30;
constexpr std::int64_t kChunkBytes = 16 * 1024;
constexpr std::int64_t kLine = 64;

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// All that follows from the shape of an image.
class PixelPlan final : public ConvPlan {
 public:
  PixelPlan(const Isa& isa, const PixelWeights& weights, const std::vector<WindowAxis>& window, const Shape& shape)
      : image(shape),
        planes(window, Shape(image.begin() + 1, image.end()), PhasePlanes::Layout::kPhases),
        offsets(plane_offsets(weights.kept, planes, image)),
        cover(planes, isa.lanes) {
    copies = !planes.is_input() || cover.reads_past_end();
    const std::int64_t units = cover.count() / cover.unit();
    bands = divide_up(cover.count(), kBandVectors);
    bands = std::clamp<std::int64_t>(bands, 1, std::max<std::int64_t>(1, cover.unit() == 1 ? units / 2 : units));
    // the lines of one channel that a kernel call touches, about
    const std::int64_t taps = static_cast<std::int64_t>(planes.taps().size());
    const std::int64_t line_rows = taps / window.back().kernel;
    const std::int64_t lines = line_rows * (isa.vectors * isa.lanes * std::int64_t{sizeof(float)} / kLine + 1);
    const std::int64_t chunks = divide_up(weights.most_rows * lines * kLine, kChunkBytes);
    chunk = std::max<std::int64_t>(1, divide_up(weights.most_rows, std::max<std::int64_t>(1, chunks)));
    for (std::int64_t i = 0; i < cover.count(); ++i) side_by_side.push_back(static_cast<std::int32_t>(i * isa.lanes));
    direct = cover.whole() && chunk >= weights.most_rows;
  }

  // First vector of a band.
  std::int64_t band(std::int64_t number) const {
    return number * (cover.count() / cover.unit()) / bands * cover.unit();
  }

  Shape image;  // [channels, spatial…]
  PhasePlanes planes;
  std::vector<std::int32_t> offsets;       // [row of all tiles][tap]
  PixelCover cover;
  std::vector<std::int32_t> side_by_side;  // where vectors go in scratch memory
  std::int64_t bands = 1;
  std::int64_t chunk = 1;  // rows of a tile that are taken at once
  bool copies = false;     // whether the input is laid out anew
  bool direct = false;     // whether kernels write into the output
};

class ConvByPixels final : public ConvMethod {
 public:
  ConvByPixels(const ConvLayer& layer, const float* weight, const std::int64_t* index)
      : layer_(layer), weights_(layer.isa, layer.tiling, layer.taps, weight, index) {}

  std::unique_ptr<const ConvPlan> plan(const std::vector<WindowAxis>& window, const Shape& image) const override {
    return std::make_unique<const PixelPlan>(layer_.isa, weights_, window, image);
  }

  void run(const Context& context, const ConvPlan& any_plan, std::int64_t images, const float* x, const float* bias,
           float* y) const override {
    const auto& plan = static_cast<const PixelPlan&>(any_plan);
    const std::int64_t slack = layer_.isa.lanes, image_size = layer_.tiling.inputs * plan.planes.channel_size();
    const LaidOut input(context, layer_.isa, plan.planes, plan.copies, plan.image, images, slack, x);
    const std::int64_t tiles = layer_.tiling.tiles;
    const std::int64_t work = static_cast<std::int64_t>(weights_.values.size()) * plan.cover.count() * slack * images;
    const std::int64_t parts =
        std::clamp<std::int64_t>(divide_up(wanted_tasks(work), images * plan.bands), 1, tiles);
    context.parallel_for(images * plan.bands * parts, [&](std::int64_t task) {
      const std::int64_t part = task % parts, band = task / parts % plan.bands, image = task / parts / plan.bands;
      const float* const image_x = input.data() + image * image_size;
      float* const image_y = y + image * layer_.tiling.outputs * plan.planes.output_size();
      for (std::int64_t tile = part * tiles / parts; tile < (part + 1) * tiles / parts; ++tile) {
        if (plan.direct) {
          run_direct(plan, tile, band, image_x, bias, image_y);
        } else {
          run_tile(plan, tile, band, image_x, bias, image_y);
        }
      }
    });
  }

 private:
  using Bundle = PixelWeights::Bundle;

  // Output channels of a tile.
  std::int64_t channels(std::int64_t tile) const {
    const Bundle& last = weights_.end(tile)[-1];
    return last.output + last.channels - weights_.begin(tile)->output;
  }

  // Calls `step(bundle, first vector, vectors)` for all of a tile and a band.
  template <typename Step>
  void for_each_kernel(const PixelPlan& plan, std::int64_t tile, std::int64_t band, const Step& step) const {
    const std::int64_t end = plan.band(band + 1);
    for (std::int64_t vector = plan.band(band); vector < end;) {
      const std::int64_t left = end - vector;
      // four are two and two: a single vector leaves the multipliers waiting
      const std::int64_t vectors = left == 4 ? 2 : std::min<std::int64_t>(layer_.isa.vectors, left);
      for (const auto* bundle = weights_.begin(tile); bundle != weights_.end(tile); ++bundle) {
        step(*bundle, vector, vectors);
      }
      vector += vectors;
    }
  }

  // All rows at once, and whole vectors: kernels write where their sums belong.
  void run_direct(const PixelPlan& plan, std::int64_t tile, std::int64_t band, const float* x, const float* bias,
                  float* y) const {
    const std::int64_t size = plan.planes.output_size(), taps = static_cast<std::int64_t>(plan.planes.taps().size());
    const std::int64_t depth = weights_.kept.count(tile) * taps;
    const std::int32_t* const offsets = plan.offsets.data() + weights_.kept.first(tile) * taps;
    for_each_kernel(plan, tile, band, [&](const Bundle& bundle, std::int64_t vector, std::int64_t vectors) {
      const PixelTile job{x,
                          offsets,
                          depth,
                          plan.cover.inputs() + vector,
                          weights_.values.data() + bundle.start,
                          y + bundle.output * size,
                          size,
                          plan.cover.outputs() + vector,
                          bias != nullptr ? bias + bundle.output : nullptr,
                          false};
      layer_.isa.pixel_kernels[bundle.channels][vectors](job);
    });
    if (layer_.activation.kind == ActivationKind::kNone) return;
    const std::int64_t from = plan.cover.outputs()[plan.band(band)];
    const std::int64_t to = plan.cover.outputs()[plan.band(band + 1) - 1] + layer_.isa.lanes;
    const std::int64_t first = weights_.begin(tile)->output;
    for (std::int64_t c = first; c < first + channels(tile); ++c) {
      layer_.isa.activate(layer_.activation, y + c * size + from, static_cast<std::size_t>(to - from));
    }
  }

  // Sums are gathered in scratch memory, chunk by chunk, and then put where they belong.
  void run_tile(const PixelPlan& plan, std::int64_t tile, std::int64_t band, const float* x, const float* bias,
                float* y) const {
    const std::int64_t size = plan.planes.output_size(), taps = static_cast<std::int64_t>(plan.planes.taps().size());
    const std::int64_t rows = weights_.kept.count(tile), first_vector = plan.band(band);
    const std::int64_t row_size = (plan.band(band + 1) - first_vector) * layer_.isa.lanes;
    const std::int64_t first = weights_.begin(tile)->output;
    const auto sums = ScratchPool::shared().borrow(static_cast<std::size_t>(channels(tile) * row_size));
    for (std::int64_t from = 0; from == 0 || from < rows; from += plan.chunk) {
      const std::int64_t depth = std::min(plan.chunk, rows - from) * taps;
      const std::int32_t* const offsets = plan.offsets.data() + (weights_.kept.first(tile) + from) * taps;
      for_each_kernel(plan, tile, band, [&](const Bundle& bundle, std::int64_t vector, std::int64_t vectors) {
        const PixelTile job{x,
                            offsets,
                            depth,
                            plan.cover.inputs() + vector,
                            weights_.values.data() + bundle.start + from * taps * bundle.channels,
                            sums.data() + (bundle.output - first) * row_size,
                            row_size,
                            plan.side_by_side.data() + (vector - first_vector),
                            bias != nullptr ? bias + bundle.output : nullptr,
                            from > 0};
        layer_.isa.pixel_kernels[bundle.channels][vectors](job);
      });
    }
    layer_.isa.activate(layer_.activation, sums.data(), static_cast<std::size_t>(channels(tile) * row_size));
    for (std::int64_t c = 0; c < channels(tile); ++c) {
      const float* lanes = sums.data() + c * row_size;
      float* const out = y + (first + c) * size;
      for (std::int64_t vector = first_vector; vector < plan.band(band + 1); ++vector, lanes += layer_.isa.lanes) {
        for (const auto* run = plan.cover.runs_begin(vector); run != plan.cover.runs_end(vector); ++run) {
          std::copy_n(lanes + run->lane, run->count, out + run->output);
        }
      }
    }
  }

  const ConvLayer layer_;
  const PixelWeights weights_;
};

}  // namespace

std::unique_ptr<ConvMethod> conv_by_pixels(const ConvLayer& layer, const float* weight, const std::int64_t* index) {
  return std::make_unique<ConvByPixels>(layer, weight, index);
}

}  // namespace onnxprune
