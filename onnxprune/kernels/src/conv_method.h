// Ways to compute a block-sparse convolution.
#pragma once

#include <memory>

#include "activation.h"
#include "isa.h"
#include "memory.h"
#include "ort.h"
#include "tiling.h"
#include "window.h"

namespace onnxprune {

// What a way prepares for images of one size.
class ConvPlan {
 public:
  ConvPlan() = default;
  ConvPlan(const ConvPlan&) = delete;
  ConvPlan& operator=(const ConvPlan&) = delete;
  virtual ~ConvPlan() = default;
};

// A layer's weights, laid out for one way.
class ConvMethod {
 public:
  ConvMethod() = default;
  ConvMethod(const ConvMethod&) = delete;
  ConvMethod& operator=(const ConvMethod&) = delete;
  virtual ~ConvMethod() = default;

  // `image` is [channels, spatial…].
  virtual std::unique_ptr<const ConvPlan> plan(const std::vector<WindowAxis>& window, const Shape& image) const = 0;
  virtual void run(const Context& context, const ConvPlan& plan, std::int64_t images, const float* x,
                   const float* bias, float* y) const = 0;
};

// A layer as both ways see it.
struct ConvLayer {
  const Isa& isa;
  Activation activation;
  Tiling tiling;
  std::int64_t taps;
};

std::unique_ptr<ConvMethod> conv_by_pixels(const ConvLayer& layer, const float* weight, const std::int64_t* index);
std::unique_ptr<ConvMethod> conv_by_rows(const ConvLayer& layer, const float* weight, const std::int64_t* index);

// Returns the way that suits the layer.
std::unique_ptr<ConvMethod> choose_conv(const ConvLayer& layer, const float* weight, const std::int64_t* index);

// Images with planes laid out as `planes` says: copied into scratch memory, or `x` itself where they lie so already.
class LaidOut {
 public:
  // `slack`: floats behind the last plane that may be read.
  LaidOut(const Context& context, const Isa& isa, const PhasePlanes& planes, bool copy, const Shape& image,
          std::int64_t images, std::int64_t slack, const float* x);
  const float* data() const { return data_; }

 private:
  ScratchPool::Loan copy_;
  const float* data_;
};

// Returns where each kept channel and tap lies in an image: [row of all tiles][tap]. Throws BadInput where the image is
// larger than 32-bit offsets reach.
std::vector<std::int32_t> plane_offsets(const KeptInputs& kept, const PhasePlanes& planes, const Shape& image);

// Returns how many tasks the work is worth.
std::int64_t wanted_tasks(std::int64_t multiplications);

}  // namespace onnxprune
