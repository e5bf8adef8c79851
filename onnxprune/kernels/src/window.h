// The geometry of a convolution's window, in one to three dimensions.
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "isa.h"
#include "ort.h"

namespace onnxprune {

constexpr int kMostAxes = 3;

// One spatial axis. A tap j looks at position o · stride + j · dilation - pad_begin of the input.
struct WindowAxis {
  std::int64_t kernel = 1;
  std::int64_t stride = 1;
  std::int64_t dilation = 1;
  std::int64_t pad_begin = 0;
  std::int64_t pad_end = 0;

  // Returns the length of the output, or 0 where the window does not fit in.
  std::int64_t output(std::int64_t input) const {
    const std::int64_t span = input + pad_begin + pad_end - ((kernel - 1) * dilation + 1);
    return span < 0 ? 0 : span / stride + 1;
  }
};

// What the attributes of a node say; empty lists mean the defaults of Conv.
struct WindowAttributes {
  std::vector<std::int64_t> kernel_shape, pads, strides, dilations;
};

// Returns the spatial axes. Throws BadInput where attributes do not fit `kernel`, the spatial shape of the weight.
std::vector<WindowAxis> read_window(const WindowAttributes& attributes, const Shape& kernel);

// Where the taps of a convolution find their inputs, as constant offsets, whatever strides, dilations and pads are.
//
// A stride of s deals the padded input out in phases: position i · s + phase of an axis goes to place i of that phase.
// A tap always meets the same phase, at place o + shift. So a channel becomes a stack of planes, one for each phase
// that a tap meets. What takes outputs one by one need not have them side by side, and steps over the padded input.
class PhasePlanes {
 public:
  enum class Layout { kPhases, kPadded };

  PhasePlanes(const std::vector<WindowAxis>& window, const Shape& input, Layout layout);

  const std::array<std::int64_t, kMostAxes>& output() const { return output_; }
  const std::array<std::int64_t, kMostAxes>& plane() const { return plane_; }
  std::int64_t output_size() const { return output_[0] * output_[1] * output_[2]; }
  std::int64_t channel_size() const { return channel_size_; }
  const std::vector<std::int64_t>& taps() const { return taps_; }

  // Places in the planes from one output to the next, along each axis.
  std::int64_t step(int axis) const { return axes_[static_cast<std::size_t>(axis)].step; }

  // Whether a channel of the input is its own stack of planes already.
  bool is_input() const { return is_input_; }
  // Writes the planes of a channel.
  void fill(const Isa& isa, const float* channel, float* planes) const;

 private:
  struct Axis {
    WindowAxis window;
    std::int64_t input = 1;
    std::vector<std::int64_t> phases;  // those that a tap meets
    std::int64_t deal = 1;             // phases that the input is dealt into
    std::int64_t step = 1;

    std::int64_t place(std::int64_t tap) const;  // of its phase in `phases`
    std::int64_t shift(std::int64_t tap) const { return tap * window.dilation / deal; }
    // Places [first, second) of a phase lie within the input.
    std::pair<std::int64_t, std::int64_t> inside(std::int64_t phase, std::int64_t size) const;
  };

  std::array<Axis, kMostAxes> axes_;
  std::array<std::int64_t, kMostAxes> output_{1, 1, 1};
  std::array<std::int64_t, kMostAxes> plane_{1, 1, 1};
  std::int64_t channel_size_ = 1;
  std::vector<std::int64_t> taps_;
  bool is_input_ = true;
};

}  // namespace onnxprune
