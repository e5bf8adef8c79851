// BlockSparseMatMul: y[m, n] = act(bias[n] + Σ_r x[m, k(tile of n, r)] · W[tile of n, r, n within its tile]).
//
// Rows of x are taken in panels of a few, strips of outputs as wide as a row kernel. Neighbouring strips form a
// group whose weights stay in the second-level cache while the panels pass by; and the inputs are taken in chunks,
// so that a panel's share of x stays in the caches while the strips pass by:
//
//     for each group: for each panel: for each chunk of inputs: for each strip: one row kernel
//
// A weight is thus read from memory once for all rows, and x once for each group. x is read where it
// lies: laying panels out anew took longer than it saved at every sparsity.
#include <algorithm>

#include "kernel.h"
#include "numbers.h"
#include "plain.h"
#include "row_weights.h"

namespace onnxprune {

namespace {

constexpr std::int64_t kLeastGroupBytes = 256 * 1024;  // of weights
constexpr std::int64_t kMostGroupBytes = 1024 * 1024;
constexpr std::int64_t kGroupShare = 8;  // of the bytes of x, which is read once for each group
constexpr std::int64_t kChunkBytes = 96 * 1024;  // of x; smaller ones put sums down and take them up again too often
constexpr std::int64_t kWorthATask = 1 << 19;  // multiplications
constexpr std::int64_t kMostTasks = 128;
constexpr std::int64_t kFewGroups = 4;  // beyond it the rows are divided: smaller groups read x more often
constexpr std::int64_t kPrefetchSparsity = 4;  // inputs per cache line below which hardware follows on its own

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// How the work of one call is cut.
struct Cut {
  Cut(const Isa& isa, const RowWeights& weights, std::int64_t rows, std::int64_t inputs)
      : panels(divide_up(rows, isa.rows)), strips(static_cast<std::int64_t>(weights.strips.size())) {
    const std::int64_t strip_size = std::max<std::int64_t>(1, weights.most_rows * isa.strip);
    const std::int64_t wanted = std::clamp<std::int64_t>(rows * strips * strip_size / kWorthATask, 1, kMostTasks);
    const std::int64_t x_bytes = rows * inputs * std::int64_t{sizeof(float)};
    const std::int64_t bytes = std::clamp(x_bytes / kGroupShare, kLeastGroupBytes, kMostGroupBytes);
    group = std::clamp<std::int64_t>(bytes / (strip_size * std::int64_t{sizeof(float)}), 1, strips);
    group = std::min(group, std::max<std::int64_t>(kMostStrips, divide_up(strips, std::min(wanted, kFewGroups))));
    groups = divide_up(strips, group);
    parts = std::clamp<std::int64_t>(divide_up(wanted, groups), 1, panels);
    const std::int64_t chunks = divide_up(isa.rows * inputs * std::int64_t{sizeof(float)}, kChunkBytes);
    chunk = std::max<std::int64_t>(1, divide_up(weights.most_rows, chunks));
    row_count = rows;
  }

  // First row of a panel; panels differ by one row at most.
  std::int64_t row(std::int64_t panel) const { return panel * row_count / panels; }

  std::int64_t panels, strips;
  std::int64_t group = 1, groups = 1;  // strips in a group
  std::int64_t parts = 1;              // parts of the panels, for more tasks
  std::int64_t chunk = 1;              // inputs of a tile in a chunk
  std::int64_t row_count = 0;
};

class MatMul final : public Kernel {
 public:
  MatMul(abi::Table table, const Info& info, const Isa& isa, const Activation& activation, ElementType type)
      : Kernel(table),
        isa_(isa),
        activation_(activation),
        type_(type),
        block_(info.integer("block_k")),
        inputs_(info.integer("in_features")),
        outputs_(info.integer("out_features")) {
    Tensor weight, index;
    const bool constant = info.constant(1, &weight) && info.constant(2, &index);
    if (!constant || type == ElementType::kDouble) return;
    const Tiling tiling = checked(weight, index, Tensor{});
    weights_ = std::make_unique<RowWeights>(isa_, tiling, AsFloats(weight).data(), index.as<std::int64_t>());
  }

  void compute(const Context& context) const override {
    const Tensor x = context.input(0), weight = context.input(1), index = context.input(2), bias = context.input(3);
    const Tiling tiling = checked(weight, index, bias);
    if (x.shape.empty() || x.shape.back() != inputs_) {
      throw BadInput("x has shape " + show(x.shape) + "; its last dimension must be in_features, " +
                     std::to_string(inputs_) + ".");
    }
    Shape shape = x.shape;
    shape.back() = outputs_;
    const std::int64_t rows = element_count(x.shape, "x") / inputs_;
    element_count(shape, "y");
    const Tensor y = context.output(shape, type_);
    if (rows == 0) return;
    if (type_ == ElementType::kDouble) {
      return plain_matmul(context, tiling, activation_, rows, x.as<double>(), weight.as<double>(),
                          index.as<std::int64_t>(), bias.as<double>(), y.as<double>());
    }
    std::unique_ptr<RowWeights> fresh;
    if (!weights_) {
      fresh = std::make_unique<RowWeights>(isa_, tiling, AsFloats(weight).data(), index.as<std::int64_t>());
    }
    const AsFloats inputs(x), start(bias);
    const FloatsFor outputs(y);
    multiply(context, weights_ ? *weights_ : *fresh, rows, inputs.data(), start.data(), outputs.data());
    outputs.finish();
  }

 private:
  Tiling checked(const Tensor& weight, const Tensor& index, const Tensor& bias) const {
    if (weight.shape.size() != 3) {
      throw BadInput("The weight has shape " + show(weight.shape) +
                     ", not [tiles, inputs of a tile, outputs of a tile].");
    }
    const Tiling tiling{weight.shape[0], weight.shape[1], weight.shape[2], block_, inputs_, outputs_};
    check_tiling(tiling, index, bias);
    return tiling;
  }

  void multiply(const Context& context, const RowWeights& weights, std::int64_t rows, const float* x,
                const float* bias, float* y) const {
    const Cut cut(isa_, weights, rows, inputs_);
    context.parallel_for(cut.groups * cut.parts, [&](std::int64_t task) {
      // consecutive tasks share the weights of a group
      const std::int64_t group = task / cut.parts, part = task % cut.parts;
      const std::int64_t first = group * cut.group, last = std::min(first + cut.group, cut.strips);
      const std::int64_t end = (part + 1) * cut.panels / cut.parts;
      for (std::int64_t panel = part * cut.panels / cut.parts; panel < end; ++panel) {
        multiply_panel(weights, cut, panel, panel + 1 < end, first, last, x, bias, y);
      }
    });
  }

  void multiply_panel(const RowWeights& weights, const Cut& cut, std::int64_t panel, bool prefetch,
                      std::int64_t first, std::int64_t last, const float* x, const float* bias, float* y) const {
    const std::int64_t row = cut.row(panel), rows = cut.row(panel + 1) - row;
    const float* const panel_x = x + row * inputs_;
    float* const panel_y = y + row * outputs_;
    for (std::int64_t from = 0; from < std::max<std::int64_t>(1, weights.most_rows); from += cut.chunk) {
      for (std::int64_t i = first; i < last; ++i) {
        const RowWeights::Strip& strip = weights.strips[static_cast<std::size_t>(i)];
        if (prefetch && from == 0 && (i == first || strip.tile != (&strip)[-1].tile)) {
          prefetch_rows(weights, strip.tile, panel_x + rows * inputs_, cut.row(panel + 2) - row - rows);
        }
        if (strip.outputs < isa_.strip) {
          if (from == 0) multiply_narrow(weights, strip, rows, panel_x, bias, panel_y);
          continue;
        }
        const std::int64_t depth = std::min(cut.chunk, weights.kept.count(strip.tile) - from);
        if (depth <= 0 && from != 0) continue;
        const bool twice = isa_.row_kernels[rows][2] != nullptr && i + 1 < last && (&strip)[1].tile == strip.tile &&
                           (&strip)[1].outputs == isa_.strip;
        const RowTile tile{panel_x,
                           inputs_,
                           nullptr,
                           weights.inputs.data() + weights.kept.first(strip.tile) + from,
                           depth,
                           weights.values.data() + strip.start + from * isa_.strip,
                           weights.kept.count(strip.tile) * isa_.strip,
                           panel_y + strip.output,
                           outputs_,
                           bias != nullptr ? bias + strip.output : nullptr,
                           from > 0};
        isa_.row_kernels[rows][twice ? 2 : 1](tile);
        i += twice ? 1 : 0;
      }
    }
    if (activation_.kind == ActivationKind::kNone) return;
    const RowWeights::Strip& final = weights.strips[static_cast<std::size_t>(last) - 1];
    const std::int64_t column = weights.strips[static_cast<std::size_t>(first)].output;
    for (std::int64_t m = 0; m < rows; ++m) {
      isa_.activate(activation_, panel_y + m * outputs_ + column,
                    static_cast<std::size_t>(final.output + final.outputs - column));
    }
  }

  // Strips narrower than a kernel, which writes whole vectors: the outputs beside them belong to other tasks.
  void multiply_narrow(const RowWeights& weights, const RowWeights::Strip& strip, std::int64_t rows, const float* x,
                       const float* bias, float* y) const {
    float start[2 * kMostLanes] = {};
    float sums[kMostRows * 2 * kMostLanes];
    if (bias != nullptr) std::copy_n(bias + strip.output, strip.outputs, start);
    const RowTile tile{x,
                       inputs_,
                       nullptr,
                       weights.inputs.data() + weights.kept.first(strip.tile),
                       weights.kept.count(strip.tile),
                       weights.values.data() + strip.start,
                       0,
                       sums,
                       isa_.strip,
                       start,
                       false};
    isa_.row_kernels[rows][1](tile);
    for (std::int64_t m = 0; m < rows; ++m) {
      std::copy_n(sums + m * isa_.strip, strip.outputs, y + m * outputs_ + strip.output);
    }
  }

  // Blocks that lie far apart are lines of x that the hardware does not foresee.
  void prefetch_rows(const RowWeights& weights, std::int64_t tile, const float* x, std::int64_t rows) const {
    const std::int64_t first = weights.first_line[static_cast<std::size_t>(tile)];
    const std::int64_t count = weights.first_line[static_cast<std::size_t>(tile) + 1] - first;
    if (count * kPrefetchSparsity > weights.kept.count(tile)) return;
    for (std::int64_t i = first; i < first + count; ++i) {
      for (std::int64_t m = 0; m < rows; ++m) {
        __builtin_prefetch(x + m * inputs_ + weights.lines[static_cast<std::size_t>(i)], 0, 2);
      }
    }
  }

  const Isa& isa_;
  const Activation activation_;
  const ElementType type_;
  const std::int64_t block_, inputs_, outputs_;
  std::unique_ptr<RowWeights> weights_;  // null where they, or what they multiply, change from call to call
};

}  // namespace

std::unique_ptr<Kernel> make_matmul(abi::Table table, const Info& info, const Isa& isa, const Activation& activation,
                                    ElementType type) {
  return std::make_unique<MatMul>(table, info, isa, activation, type);
}

}  // namespace onnxprune
