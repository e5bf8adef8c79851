// A convolution with output channels in the lanes: one pixel after the other is broadcast.
//
//     for each image: for each band of pixels: for each tile: for each chunk of channels:
//         for each strip of the tile: for each few pixels of the band: one row kernel
//
// Sums stand as [pixel][channel of the tile] in scratch memory until they are complete, and are then turned around. A
// band's share of the input stays in the second-level cache while the tiles pass by, a chunk's in the first-level.
#include <algorithm>

#include "conv_method.h"

namespace onnxprune {

namespace {

constexpr std::int64_t kBandPixels = 400;
constexpr std::int64_t kChunkDepth = 300;  // products in a kernel call, at most about

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

class RowPlan final : public ConvPlan {
 public:
  RowPlan(const Isa& isa, const KeptInputs& kept, const std::vector<WindowAxis>& window, const Shape& shape)
      : image(shape),
        planes(window, Shape(shape.begin() + 1, shape.end()), PhasePlanes::Layout::kPadded),
        offsets(plane_offsets(kept, planes, shape)) {
    const auto& [depth, height, width] = planes.output();
    places.reserve(static_cast<std::size_t>(planes.output_size()));
    for (std::int64_t z = 0; z < depth; ++z) {
      for (std::int64_t y = 0; y < height; ++y) {
        const std::int64_t row = (z * planes.step(0) * planes.plane()[1] + y * planes.step(1)) * planes.plane()[2];
        for (std::int64_t x = 0; x < width; ++x) places.push_back(static_cast<std::int32_t>(row + x * planes.step(2)));
      }
    }
    panels = divide_up(planes.output_size(), isa.rows);
    bands = divide_up(panels * isa.rows, kBandPixels);
  }

  // First pixel of a panel; panels differ by one pixel at most.
  std::int64_t pixel(std::int64_t panel) const { return panel * planes.output_size() / panels; }
  // First panel of a band.
  std::int64_t panel(std::int64_t band) const { return band * panels / bands; }

  Shape image;
  PhasePlanes planes;
  std::vector<std::int32_t> offsets;  // [row of all tiles][tap]
  std::vector<std::int32_t> places;   // of the first tap of each output
  std::int64_t panels = 1;
  std::int64_t bands = 1;
};

class ConvByRows final : public ConvMethod {
 public:
  // Weights are laid out as [tile][strip][row of the tile][tap][lane].
  ConvByRows(const ConvLayer& layer, const float* weight, const std::int64_t* index)
      : layer_(layer), kept_(layer.tiling, index), strips_(divide_up(layer.tiling.width, layer.isa.strip)) {
    const Tiling& tiling = layer.tiling;
    const std::int64_t strip = layer.isa.strip, taps = layer.taps;
    values_ = Floats(static_cast<std::size_t>(kept_.total() * taps * strips_ * strip));
    float* to = values_.data();
    for (std::int64_t tile = 0; tile < tiling.tiles; ++tile) {
      const auto* const end = kept_.begin(tile) + kept_.count(tile);
      for (std::int64_t first = 0; first < tiling.width; first += strip) {
        const std::int64_t filled = std::min(strip, tiling.width - first);
        const float* const rows = weight + (tile * tiling.width + first) * tiling.rows * taps;
        for (const auto* row = kept_.begin(tile); row != end; ++row) {
          for (std::int64_t tap = 0; tap < taps; ++tap, to += strip) {
            for (std::int64_t c = 0; c < filled; ++c) to[c] = rows[(c * tiling.rows + row->weight) * taps + tap];
            std::fill(to + filled, to + strip, 0.0F);
          }
        }
      }
    }
  }

  std::unique_ptr<const ConvPlan> plan(const std::vector<WindowAxis>& window, const Shape& image) const override {
    return std::make_unique<const RowPlan>(layer_.isa, kept_, window, image);
  }

  void run(const Context& context, const ConvPlan& any_plan, std::int64_t images, const float* x, const float* bias,
           float* y) const override {
    const auto& plan = static_cast<const RowPlan&>(any_plan);
    const LaidOut input(context, layer_.isa, plan.planes, !plan.planes.is_input(), plan.image, images, 0, x);
    const std::int64_t size = plan.planes.output_size(), tiles = layer_.tiling.tiles;
    const std::int64_t work = static_cast<std::int64_t>(values_.size()) * size * images;
    const std::int64_t parts =
        std::clamp<std::int64_t>(divide_up(wanted_tasks(work), images * plan.bands), 1, tiles);
    context.parallel_for(images * plan.bands * parts, [&](std::int64_t task) {
      const std::int64_t part = task % parts, band = task / parts % plan.bands, image = task / parts / plan.bands;
      const float* const image_x = input.data() + image * layer_.tiling.inputs * plan.planes.channel_size();
      for (std::int64_t tile = part * tiles / parts; tile < (part + 1) * tiles / parts; ++tile) {
        run_tile(plan, tile, band, image_x, bias, y + image * layer_.tiling.outputs * size);
      }
    });
  }

 private:
  void run_tile(const RowPlan& plan, std::int64_t tile, std::int64_t band, const float* x, const float* bias,
                float* y) const {
    const Isa& isa = layer_.isa;
    const std::int64_t taps = layer_.taps, rows = kept_.count(tile), width = strips_ * isa.strip;
    const std::int64_t first_panel = plan.panel(band), last_panel = plan.panel(band + 1);
    const std::int64_t first = plan.pixel(first_panel), pixels = plan.pixel(last_panel) - first;
    const auto sums = ScratchPool::shared().borrow(static_cast<std::size_t>((pixels + 1) * width));
    float* const start = sums.data() + pixels * width;  // the bias of the tile, padded
    std::fill_n(start, width, 0.0F);
    if (bias != nullptr) std::copy_n(bias + tile * layer_.tiling.width, layer_.tiling.width, start);
    const std::int64_t chunk = divide_up(std::max<std::int64_t>(1, rows), divide_up(rows * taps + 1, kChunkDepth));
    for (std::int64_t from = 0; from == 0 || from < rows; from += chunk) {
      const std::int64_t depth = std::min(chunk, rows - from) * taps;
      const std::int32_t* const offsets = plan.offsets.data() + (kept_.first(tile) + from) * taps;
      for (std::int64_t strip = 0; strip < strips_; ++strip) {
        const float* const w = values_.data() + (kept_.first(tile) * strips_ + rows * strip + from) * taps * isa.strip;
        for (std::int64_t panel = first_panel; panel < last_panel; ++panel) {
          const std::int64_t pixel = plan.pixel(panel), count = plan.pixel(panel + 1) - pixel;
          const RowTile job{x,
                            0,
                            plan.places.data() + pixel,
                            offsets,
                            depth,
                            w,
                            0,
                            sums.data() + (pixel - first) * width + strip * isa.strip,
                            width,
                            start + strip * isa.strip,
                            from > 0};
          isa.row_kernels[count][1](job);
        }
      }
    }
    isa.activate(layer_.activation, sums.data(), static_cast<std::size_t>(pixels * width));
    const std::int64_t size = plan.planes.output_size();
    isa.transpose(sums.data(), width, pixels, layer_.tiling.valid_width(tile),
                  y + tile * layer_.tiling.width * size + first, size);
  }

  const ConvLayer layer_;
  const KeptInputs kept_;
  const std::int64_t strips_;  // of a tile
  Floats values_;
};

}  // namespace

std::unique_ptr<ConvMethod> conv_by_rows(const ConvLayer& layer, const float* weight, const std::int64_t* index) {
  return std::make_unique<ConvByRows>(layer, weight, index);
}

}  // namespace onnxprune
