#include "infer_shape.h"

#include <algorithm>
#include <string>
#include <vector>

#include "ort.h"
#include "window.h"

namespace onnxprune {

namespace {

// A dimension: its size, or its name where that is all that is known.
struct Dimension {
  std::int64_t size = -1;
  std::string name;
};

class Inference {
 public:
  Inference(abi::Table table, abi::ShapeInferContext* context) : table_(table), context_(context) {}

  // Returns the dimensions of an input. A tensor of unknown rank looks as if it had none.
  std::vector<Dimension> input(std::size_t place) const {
    abi::ShapeInfo* info = nullptr;  // the context's own
    check(table_, abi::InferInput::call(table_, context_, place, &info));
    std::size_t rank = 0;
    check(table_, abi::GetDimensionsCount::call(table_, info, &rank));
    std::vector<std::int64_t> sizes(rank);
    std::vector<const char*> names(rank);
    check(table_, abi::GetDimensions::call(table_, info, sizes.data(), rank));
    check(table_, abi::GetSymbolicDimensions::call(table_, info, names.data(), rank));
    std::vector<Dimension> dimensions(rank);
    for (std::size_t i = 0; i < rank; ++i) dimensions[i] = {sizes[i], names[i] != nullptr ? names[i] : ""};
    return dimensions;
  }

  std::vector<std::int64_t> integers(const char* name, abi::AttributeKind kind) const {
    const abi::OpAttribute* attribute = nullptr;
    check(table_, abi::InferAttribute::call(table_, context_, name, &attribute));
    std::vector<std::int64_t> values(kind == abi::AttributeKind::kInt ? 1 : 2 * kMostAxes);
    std::size_t bytes = 0;
    check(table_, abi::ReadAttribute::call(table_, attribute, kind, values.data(), values.size() * sizeof(std::int64_t),
                                           &bytes));
    values.resize(std::min(values.size(), bytes / sizeof(std::int64_t)));
    return values;
  }

  // The element type of the first input, which is the output's too. One descriptor of an operator infers for all.
  ElementType type() const {
    abi::ShapeInfo* info = nullptr;
    ElementType type = ElementType::kFloat;
    check(table_, abi::InferInput::call(table_, context_, 0, &info));
    check(table_, abi::GetElementType::call(table_, info, &type));
    return type;
  }

  // onnxruntime would take an unknown dimension without a name for one of size -1: such a shape is not set.
  void set_output(const std::vector<Dimension>& dimensions) const {
    std::vector<std::int64_t> sizes;
    std::vector<const char*> names;
    for (const Dimension& dimension : dimensions) {
      if (dimension.size < 0 && dimension.name.empty()) return;
      sizes.push_back(dimension.size);
      names.push_back(dimension.size < 0 ? dimension.name.c_str() : "");
    }
    const ElementType element = type();
    abi::ShapeInfo* info = nullptr;
    check(table_, abi::CreateShapeInfo::call(table_, &info));
    abi::Status* status = abi::SetElementType::call(table_, info, element);
    if (status == nullptr) status = abi::SetDimensions::call(table_, info, sizes.data(), sizes.size());
    if (status == nullptr) status = abi::SetSymbolicDimensions::call(table_, info, names.data(), names.size());
    if (status == nullptr) status = abi::InferOutput::call(table_, context_, 0, info);
    abi::ReleaseShapeInfo::call(table_, info);
    check(table_, status);
  }

 private:
  abi::Table table_;
  abi::ShapeInferContext* context_;
};

void infer_matmul(const Inference& inference) {
  std::vector<Dimension> shape = inference.input(0);
  if (shape.empty()) return;
  shape.back() = {inference.integers("out_features", abi::AttributeKind::kInt).at(0), ""};
  inference.set_output(shape);
}

void infer_conv(const Inference& inference) {
  std::vector<Dimension> shape = inference.input(0);
  if (shape.size() < 3 || shape.size() > 2 + kMostAxes) return;
  const auto list = [&](const char* name) { return inference.integers(name, abi::AttributeKind::kInts); };
  const Shape kernel = list("kernel_shape");
  if (kernel.size() + 2 != shape.size()) return;
  const auto window = read_window({kernel, list("pads"), list("strides"), list("dilations")}, kernel);
  shape[1] = {inference.integers("out_channels", abi::AttributeKind::kInt).at(0), ""};
  for (std::size_t i = 0; i < window.size(); ++i) {
    Dimension& dimension = shape[i + 2];
    const WindowAxis& axis = window[i];
    const bool keeps = axis.stride == 1 && axis.pad_begin + axis.pad_end == (axis.kernel - 1) * axis.dilation;
    if (keeps) continue;  // the size, or the name of an unknown one
    dimension = {dimension.size < 0 ? -1 : axis.output(dimension.size), ""};
  }
  inference.set_output(shape);
}

}  // namespace

void infer_shape(abi::Table table, abi::ShapeInferContext* context, Family family) noexcept {
  try {
    const Inference inference(table, context);
    family == Family::kMatMul ? infer_matmul(inference) : infer_conv(inference);
  } catch (...) {  // the kernel reports what is wrong, with more to go by
  }
}

}  // namespace onnxprune
