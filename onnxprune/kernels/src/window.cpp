#include "window.h"

#include <algorithm>

namespace onnxprune {

namespace {

constexpr std::int64_t kMostSize = std::int64_t{1} << 31;  // of a pad, a stride, a dilation or an axis

std::int64_t at_least(std::int64_t least, std::int64_t value, const char* what) {
  if (value < least || value >= kMostSize) {
    throw BadInput(std::string(what) + " must be at least " + std::to_string(least) + " and below 2^31, not " +
                   std::to_string(value) + ".");
  }
  return value;
}

void check_length(const std::vector<std::int64_t>& values, std::size_t length, const char* name) {
  if (values.empty() || values.size() == length) return;
  throw BadInput(std::string(name) + " has " + std::to_string(values.size()) + " numbers, not " +
                 std::to_string(length) + ".");
}

}  // namespace

std::vector<WindowAxis> read_window(const WindowAttributes& attributes, const Shape& kernel) {
  const std::size_t rank = kernel.size();
  check_length(attributes.kernel_shape, rank, "kernel_shape");
  check_length(attributes.pads, 2 * rank, "pads");
  check_length(attributes.strides, rank, "strides");
  check_length(attributes.dilations, rank, "dilations");
  if (!attributes.kernel_shape.empty() && attributes.kernel_shape != kernel) {
    throw BadInput("kernel_shape is " + show(attributes.kernel_shape) + "; the weight's is " + show(kernel) + ".");
  }
  std::vector<WindowAxis> axes(rank);
  for (std::size_t i = 0; i < rank; ++i) {
    WindowAxis& axis = axes[i];
    axis.kernel = at_least(1, kernel[i], "A kernel size");
    if (!attributes.strides.empty()) axis.stride = at_least(1, attributes.strides[i], "A stride");
    if (!attributes.dilations.empty()) axis.dilation = at_least(1, attributes.dilations[i], "A dilation");
    if (!attributes.pads.empty()) {
      axis.pad_begin = at_least(0, attributes.pads[i], "A pad");
      axis.pad_end = at_least(0, attributes.pads[rank + i], "A pad");
    }
    at_least(0, (axis.kernel - 1) * axis.dilation, "The reach of a kernel");
  }
  return axes;
}

std::int64_t PhasePlanes::Axis::place(std::int64_t tap) const {
  const std::int64_t phase = tap * window.dilation % deal;
  return std::lower_bound(phases.begin(), phases.end(), phase) - phases.begin();
}

std::pair<std::int64_t, std::int64_t> PhasePlanes::Axis::inside(std::int64_t phase, std::int64_t size) const {
  const std::int64_t start = phase - window.pad_begin, stride = deal;
  const std::int64_t first = std::min(size, start >= 0 ? 0 : (-start + stride - 1) / stride);
  const std::int64_t left = input - start;  // above 0 where any place lies before the end
  return {first, std::clamp(left <= 0 ? 0 : (left + stride - 1) / stride, first, size)};
}

PhasePlanes::PhasePlanes(const std::vector<WindowAxis>& window, const Shape& input, Layout layout) {
  const std::size_t missing = kMostAxes - window.size();
  std::int64_t stacks = 1;
  for (std::size_t i = 0; i < window.size(); ++i) {
    Axis& axis = axes_[missing + i];
    axis.window = window[i];
    axis.input = at_least(1, input[i], "A spatial size");
    axis.deal = layout == Layout::kPadded ? 1 : window[i].stride;
    axis.step = layout == Layout::kPadded ? window[i].stride : 1;
    const WindowAxis& w = axis.window;
    const std::int64_t output = w.output(axis.input);
    if (output < 1) throw BadInput("The window does not fit into the input, " + show(input) + ".");
    for (std::int64_t tap = 0; tap < std::min(w.kernel, axis.deal); ++tap) {
      axis.phases.push_back(tap * w.dilation % axis.deal);
    }
    std::sort(axis.phases.begin(), axis.phases.end());
    axis.phases.erase(std::unique(axis.phases.begin(), axis.phases.end()), axis.phases.end());
    output_[missing + i] = output;
    plane_[missing + i] =
        layout == Layout::kPadded ? axis.input + w.pad_begin + w.pad_end : output + axis.shift(w.kernel - 1);
    stacks = checked_product(stacks, static_cast<std::int64_t>(axis.phases.size()), "The input");
    is_input_ = is_input_ && axis.deal == 1 && w.pad_begin == 0 && w.pad_end == 0 && plane_[missing + i] == axis.input;
  }
  is_input_ = is_input_ && stacks == 1;
  for (std::size_t i = 0; i < missing; ++i) axes_[i].phases.push_back(0);
  const std::int64_t plane_size =
      checked_product(checked_product(plane_[0], plane_[1], "The input"), plane_[2], "The input");
  channel_size_ = checked_product(plane_size, stacks, "The input");
  const auto kernel = [&](std::size_t i) { return axes_[i].window.kernel; };
  taps_.reserve(static_cast<std::size_t>(
      checked_product(checked_product(kernel(0), kernel(1), "The kernel"), kernel(2), "The kernel")));
  for (std::int64_t z = 0; z < kernel(0); ++z) {
    for (std::int64_t y = 0; y < kernel(1); ++y) {
      for (std::int64_t x = 0; x < kernel(2); ++x) {
        const std::array<std::int64_t, kMostAxes> tap{z, y, x};
        std::int64_t stack = 0, position = 0;
        for (std::size_t i = 0; i < kMostAxes; ++i) {
          stack = stack * static_cast<std::int64_t>(axes_[i].phases.size()) + axes_[i].place(tap[i]);
          position = position * plane_[i] + axes_[i].shift(tap[i]);
        }
        taps_.push_back(stack * plane_size + position);
      }
    }
  }
}

void PhasePlanes::fill(const Isa& isa, const float* channel, float* planes) const {
  const auto& [z_axis, y_axis, x_axis] = axes_;
  const std::int64_t row = plane_[2], plane = plane_[1] * row;
  for (const std::int64_t phase_z : z_axis.phases) {
    const auto [first_z, last_z] = z_axis.inside(phase_z, plane_[0]);
    for (const std::int64_t phase_y : y_axis.phases) {
      const auto [first_y, last_y] = y_axis.inside(phase_y, plane_[1]);
      for (const std::int64_t phase_x : x_axis.phases) {
        const auto [first_x, last_x] = x_axis.inside(phase_x, plane_[2]);
        for (std::int64_t z = 0; z < plane_[0]; ++z, planes += plane) {
          if (z < first_z || z >= last_z || last_y == first_y || last_x == first_x) {
            std::fill_n(planes, plane, 0.0F);
            continue;
          }
          const std::int64_t from_z = z * z_axis.deal + phase_z - z_axis.window.pad_begin;
          const std::int64_t from_y = first_y * y_axis.deal + phase_y - y_axis.window.pad_begin;
          const std::int64_t from_x = first_x * x_axis.deal + phase_x - x_axis.window.pad_begin;
          std::fill_n(planes, first_y * row, 0.0F);
          isa.copy_rows({channel + (from_z * y_axis.input + from_y) * x_axis.input + from_x,
                         y_axis.deal * x_axis.input, x_axis.deal, planes + first_y * row,
                         last_y - first_y, first_x, last_x - first_x, row - last_x});
          std::fill_n(planes + last_y * row, plane - last_y * row, 0.0F);
        }
      }
    }
  }
}

}  // namespace onnxprune
