// BlockSparseConv: y[b, o, p] = act(bias[o] + Σ_{r, tap} x[b, c(tile of o, r), p · stride + tap] · W[o, r, tap]).
#include <algorithm>
#include <mutex>

#include "conv_method.h"
#include "kernel.h"
#include "numbers.h"
#include "plain.h"

namespace onnxprune {

namespace {

class Conv final : public Kernel {
 public:
  Conv(abi::Table table, const Info& info, const Isa& isa, const Activation& activation, ElementType type)
      : Kernel(table),
        isa_(isa),
        activation_(activation),
        type_(type),
        group_(info.integer("group")),
        block_(info.integer("block_c")),
        inputs_(info.integer("in_channels")),
        outputs_(info.integer("out_channels")),
        window_{info.integers("kernel_shape"), info.integers("pads"), info.integers("strides"),
                info.integers("dilations")} {
    Tensor weight, index;
    const bool constant = info.constant(1, &weight) && info.constant(2, &index);
    if (!constant || type == ElementType::kDouble) return;
    method_ = pack(checked(weight, index, Tensor{}), weight, index);
  }

  void compute(const Context& context) const override {
    const Tensor x = context.input(0), weight = context.input(1), index = context.input(2), bias = context.input(3);
    const Tiling tiling = checked(weight, index, bias);
    if (x.shape.size() != weight.shape.size() || x.shape[1] != inputs_) {
      throw BadInput("x has shape " + show(x.shape) + "; it must have the rank of the weight, " +
                     show(weight.shape) + ", and in_channels, " + std::to_string(inputs_) + ", channels.");
    }
    element_count(x.shape, "x");
    const std::vector<WindowAxis> window = read_window(window_, kernel_of(weight));
    Shape shape{x.shape[0], outputs_};
    for (std::size_t i = 0; i < window.size(); ++i) {
      if (x.shape[i + 2] < 1 || window[i].output(x.shape[i + 2]) < 1) {
        throw BadInput("The window, with kernel " + show(kernel_of(weight)) + ", does not fit into x, " +
                       show(x.shape) + ".");
      }
      shape.push_back(window[i].output(x.shape[i + 2]));
    }
    element_count(shape, "y");
    if (x.shape[0] == 0) {
      context.output(shape, type_);
      return;
    }
    if (type_ == ElementType::kDouble) {
      const Tensor y = context.output(shape, type_);
      return plain_conv(context, tiling, activation_, window, x, shape, weight.as<double>(), index.as<std::int64_t>(),
                        bias.as<double>(), y.as<double>());
    }
    std::unique_ptr<ConvMethod> fresh;
    if (!method_) fresh = pack(tiling, weight, index);
    const ConvMethod& method = method_ ? *method_ : *fresh;
    const Shape image(x.shape.begin() + 1, x.shape.end());
    const std::shared_ptr<const ConvPlan> plan = method_ ? plan_for(image, window) : method.plan(window, image);
    const Tensor y = context.output(shape, type_);
    const AsFloats inputs(x), start(bias);
    const FloatsFor outputs(y);
    method.run(context, *plan, x.shape[0], inputs.data(), start.data(), outputs.data());
    outputs.finish();
  }

 private:
  static Shape kernel_of(const Tensor& weight) { return Shape(weight.shape.begin() + 2, weight.shape.end()); }

  Tiling checked(const Tensor& weight, const Tensor& index, const Tensor& bias) const {
    const std::size_t rank = weight.shape.size();
    if (rank < 3 || rank > 2 + kMostAxes || group_ < 1 || weight.shape[0] % group_ != 0) {
      throw BadInput("The weight has shape " + show(weight.shape) + ", not [" + std::to_string(group_) +
                     " tiles times outputs of a tile, inputs of a tile, kernel], with a kernel of 1 to 3 axes.");
    }
    const Tiling tiling{group_, weight.shape[1], weight.shape[0] / group_, block_, inputs_, outputs_};
    check_tiling(tiling, index, bias);
    read_window(window_, kernel_of(weight));
    return tiling;
  }

  std::unique_ptr<ConvMethod> pack(const Tiling& tiling, const Tensor& weight, const Tensor& index) const {
    const std::int64_t taps = element_count(kernel_of(weight), "The kernel");
    return choose_conv({isa_, activation_, tiling, taps}, AsFloats(weight).data(), index.as<std::int64_t>());
  }

  // The plan of the last call serves the next one of the same image size, whatever their number.
  std::shared_ptr<const ConvPlan> plan_for(const Shape& image, const std::vector<WindowAxis>& window) const {
    {
      const std::lock_guard<std::mutex> lock(plan_mutex_);
      if (plan_ && planned_ == image) return plan_;
    }
    std::shared_ptr<const ConvPlan> made = method_->plan(window, image);
    const std::lock_guard<std::mutex> lock(plan_mutex_);
    plan_ = made;
    planned_ = image;
    return made;
  }

  const Isa& isa_;
  const Activation activation_;
  const ElementType type_;
  const std::int64_t group_, block_, inputs_, outputs_;
  const WindowAttributes window_;
  std::unique_ptr<ConvMethod> method_;  // null where they, or what they multiply, change from call to call
  mutable std::mutex plan_mutex_;
  mutable std::shared_ptr<const ConvPlan> plan_;
  mutable Shape planned_;  // the image size it is for
};

}  // namespace

std::unique_ptr<Kernel> make_conv(abi::Table table, const Info& info, const Isa& isa, const Activation& activation,
                                  ElementType type) {
  return std::make_unique<Conv>(table, info, isa, activation, type);
}

}  // namespace onnxprune
