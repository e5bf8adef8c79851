#include "cuda_kernel.h"

#include <algorithm>

#include "cuda_layer.h"

namespace onnxprune::cuda {

namespace {

constexpr std::int64_t kBlock = 8, kWidth = 32;  // what blocks and tiles must be multiples of

// Reads the constants of a node; the rest of it is checked as on the CPU.
struct Constants {
  Tensor weight, index;

  Constants(const Info& info, abi::Table table, bool on_device) {
    if (!info.constant(1, &weight) || !info.constant(2, &index)) {
      throw BadInput("The weight or the index is computed; the CUDA kernels take constants.");
    }
    if (!on_host(table, index.memory)) throw BadInput("The index does not lie in the memory of the host.");
    if (on_device && on_host(table, weight.memory)) throw BadInput("The weight does not lie on the device.");
  }
};

void refuse_uncovered(ElementType type, const Tiling& tiling, const std::vector<WindowAxis>& window) {
  const std::string reason = uncovered(type, tiling, window);
  if (!reason.empty()) throw BadInput("The CUDA kernels do not cover this layer: " + reason);
}

class MatMul final : public Kernel {
 public:
  MatMul(abi::Table table, const Info& info, const Activation& activation, ElementType type, bool on_device)
      : Kernel(table), type_(type), inputs_(info.integer("in_features")), outputs_(info.integer("out_features")) {
    const Constants constants(info, table, on_device);
    const Shape& shape = constants.weight.shape;
    if (shape.size() != 3) {
      throw BadInput("The weight has shape " + show(shape) + ", not [tiles, inputs of a tile, outputs of a tile].");
    }
    tiling_ = {shape[0], shape[1], shape[2], info.integer("block_k"), inputs_, outputs_};
    index_ = constants.index;
    check_tiling(tiling_, index_, Tensor{});
    refuse_uncovered(type, tiling_, {});
    layer_ = std::make_unique<DeviceLayer>(info, tiling_, Geometry{}, activation, constants.weight,
                                           index_.as<std::int64_t>());
  }

  void compute(const Context& context) const override {
    const Tensor x = context.input(0), bias = context.input(3);
    check_tiling(tiling_, index_, bias);
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
    Batch batch;
    batch.image[2] = batch.output[2] = rows;
    layer_->run(context, batch, x, bias, y);
  }

 private:
  const ElementType type_;
  const std::int64_t inputs_, outputs_;
  Tiling tiling_{};
  Tensor index_;
  std::unique_ptr<DeviceLayer> layer_;
};

class Conv final : public Kernel {
 public:
  Conv(abi::Table table, const Info& info, const Activation& activation, ElementType type, bool on_device)
      : Kernel(table), type_(type), inputs_(info.integer("in_channels")), outputs_(info.integer("out_channels")) {
    const Constants constants(info, table, on_device);
    weight_shape_ = constants.weight.shape;
    const std::int64_t group = info.integer("group");
    if (weight_shape_.size() < 3 || weight_shape_.size() > 2 + kMostAxes || group < 1 ||
        weight_shape_[0] % group != 0) {
      throw BadInput("The weight has shape " + show(weight_shape_) + ", not [" + std::to_string(group) +
                     " tiles times outputs of a tile, inputs of a tile, kernel], with a kernel of 1 to 3 axes.");
    }
    tiling_ = {group, weight_shape_[1], weight_shape_[0] / group, info.integer("block_c"), inputs_, outputs_};
    index_ = constants.index;
    check_tiling(tiling_, index_, Tensor{});
    const Shape kernel(weight_shape_.begin() + 2, weight_shape_.end());
    window_ = read_window({info.integers("kernel_shape"), info.integers("pads"), info.integers("strides"),
                           info.integers("dilations")},
                          kernel);
    refuse_uncovered(type, tiling_, window_);
    Geometry geometry;
    geometry.planar = true;
    const std::size_t missing = kMostAxes - window_.size();
    for (std::size_t i = 0; i < window_.size(); ++i) {
      geometry.kernel[missing + i] = window_[i].kernel;
      geometry.dilation[missing + i] = window_[i].dilation;
      geometry.stride[missing + i] = window_[i].stride;
      geometry.pad[missing + i] = window_[i].pad_begin;
    }
    layer_ = std::make_unique<DeviceLayer>(info, tiling_, geometry, activation, constants.weight,
                                           index_.as<std::int64_t>());
  }

  void compute(const Context& context) const override {
    const Tensor x = context.input(0), bias = context.input(3);
    check_tiling(tiling_, index_, bias);
    if (x.shape.size() != weight_shape_.size() || x.shape[1] != inputs_) {
      throw BadInput("x has shape " + show(x.shape) + "; it must have the rank of the weight, " +
                     show(weight_shape_) + ", and in_channels, " + std::to_string(inputs_) + ", channels.");
    }
    element_count(x.shape, "x");
    Batch batch;
    batch.images = x.shape[0];
    Shape shape{x.shape[0], outputs_};
    const std::size_t missing = kMostAxes - window_.size();
    for (std::size_t i = 0; i < window_.size(); ++i) {
      const std::int64_t size = x.shape[i + 2], made = size < 1 ? 0 : window_[i].output(size);
      if (made < 1) {
        throw BadInput("The window of the weight, " + show(weight_shape_) + ", does not fit into x, " + show(x.shape) +
                       ".");
      }
      shape.push_back(made);
      batch.image[missing + i] = size;
      batch.output[missing + i] = made;
    }
    element_count(shape, "y");
    const Tensor y = context.output(shape, type_);
    if (batch.images != 0) layer_->run(context, batch, x, bias, y);
  }

 private:
  const ElementType type_;
  const std::int64_t inputs_, outputs_;
  Shape weight_shape_;
  Tiling tiling_{};
  Tensor index_;
  std::vector<WindowAxis> window_;
  std::unique_ptr<DeviceLayer> layer_;
};

}  // namespace

std::string uncovered(ElementType type, const Tiling& tiling, const std::vector<WindowAxis>& window) {
  if (type != ElementType::kFloat && type != ElementType::kFloat16 && type != ElementType::kBFloat16) {
    return "its elements are not float32, float16 or bfloat16.";
  }
  if (tiling.block % kBlock != 0) {
    return "its blocks have " + std::to_string(tiling.block) + " inputs, no multiple of " + std::to_string(kBlock) +
           ".";
  }
  if (tiling.width % kWidth != 0) {
    return "its tiles have " + std::to_string(tiling.width) + " outputs, no multiple of " + std::to_string(kWidth) +
           ".";
  }
  for (const WindowAxis& axis : window) {
    if ((axis.kernel - 1) * axis.dilation >= std::int64_t{1} << kShiftBits) {
      return "its kernel reaches over " + std::to_string((axis.kernel - 1) * axis.dilation + 1) + " positions.";
    }
  }
  return "";
}

std::unique_ptr<Kernel> make_matmul(abi::Table table, const Info& info, const Activation& activation, ElementType type,
                                    bool on_device) {
  return std::make_unique<MatMul>(table, info, activation, type, on_device);
}

std::unique_ptr<Kernel> make_conv(abi::Table table, const Info& info, const Activation& activation, ElementType type,
                                  bool on_device) {
  return std::make_unique<Conv>(table, info, activation, type, on_device);
}

}  // namespace onnxprune::cuda
