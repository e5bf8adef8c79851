#include "plain.h"

#include <algorithm>
#include <cmath>

namespace onnxprune {

double activate(const Activation& activation, double x) {
  const auto clip = [](double value, double low, double high) { return std::min(std::max(value, low), high); };
  const double a = activation.a, b = activation.b;
  switch (activation.kind) {
    case ActivationKind::kNone: return x;
    case ActivationKind::kRelu: return x < 0.0 ? 0.0 : x;
    case ActivationKind::kLeakyRelu: return x < 0.0 ? a * x : x;
    case ActivationKind::kClip: return clip(x, a, b);
    case ActivationKind::kHardSigmoid: return clip(a * x + b, 0.0, 1.0);
    case ActivationKind::kHardSwish: return x * clip(x / 6.0 + 0.5, 0.0, 1.0);
    case ActivationKind::kSigmoid: return 1.0 / (1.0 + std::exp(-x));
    case ActivationKind::kSilu: return x / (1.0 + std::exp(-x));
    case ActivationKind::kTanh: return std::tanh(x);
    case ActivationKind::kGelu: return 0.5 * x * (1.0 + std::erf(x * 0.7071067811865476));
    case ActivationKind::kGeluTanh:
      return 0.5 * x * (1.0 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
  }
  return x;
}

void plain_matmul(const Context& context, const Tiling& tiling, const Activation& activation, std::int64_t rows,
                  const double* x, const double* weight, const std::int64_t* index, const double* bias, double* y) {
  const KeptInputs kept(tiling, index);
  context.parallel_for(rows, [&](std::int64_t m) {
    const double* const row_x = x + m * tiling.inputs;
    for (std::int64_t tile = 0; tile < tiling.tiles; ++tile) {
      const std::int64_t first = tile * tiling.width, width = tiling.valid_width(tile);
      double* const out = y + m * tiling.outputs + first;
      for (std::int64_t n = 0; n < width; ++n) out[n] = bias != nullptr ? bias[first + n] : 0.0;
      for (const auto* row = kept.begin(tile); row != kept.begin(tile) + kept.count(tile); ++row) {
        const double value = row_x[row->input];
        const double* const w = weight + (tile * tiling.rows + row->weight) * tiling.width;
        for (std::int64_t n = 0; n < width; ++n) out[n] += value * w[n];
      }
      for (std::int64_t n = 0; n < width; ++n) out[n] = activate(activation, out[n]);
    }
  });
}

void plain_conv(const Context& context, const Tiling& tiling, const Activation& activation,
                const std::vector<WindowAxis>& window, const Tensor& x, const Shape& shape, const double* weight,
                const std::int64_t* index, const double* bias, double* y) {
  const KeptInputs kept(tiling, index);
  const PhasePlanes planes(window, Shape(x.shape.begin() + 2, x.shape.end()),
                           PhasePlanes::Layout::kPhases);
  // for each output position, where each tap falls in a channel of the input, or -1 in the pads
  const std::int64_t positions = planes.output_size(), taps = static_cast<std::int64_t>(planes.taps().size());
  std::vector<std::int64_t> places(static_cast<std::size_t>(checked_product(positions, taps, "The output")));
  std::int64_t input_size = 1;
  for (std::size_t i = 2; i < x.shape.size(); ++i) input_size *= x.shape[i];
  for (std::int64_t i = 0; i < positions * taps; ++i) {
    std::int64_t position = i / taps, tap = i % taps, place = 0, step = 1;
    for (std::size_t axis = window.size(); axis-- > 0;) {
      const WindowAxis& w = window[axis];
      const std::int64_t at = position % shape[axis + 2] * w.stride + tap % w.kernel * w.dilation - w.pad_begin;
      const bool inside = at >= 0 && at < x.shape[axis + 2] && place >= 0;
      place = inside ? place + at * step : -1;
      step *= x.shape[axis + 2];
      position /= shape[axis + 2];
      tap /= w.kernel;
    }
    places[static_cast<std::size_t>(i)] = place;
  }
  context.parallel_for(shape[0] * tiling.outputs, [&](std::int64_t plane) {
    const std::int64_t image = plane / tiling.outputs, output = plane % tiling.outputs, tile = output / tiling.width;
    const double* const image_x = x.as<double>() + image * tiling.inputs * input_size;
    for (std::int64_t position = 0; position < positions; ++position) {
      double sum = bias != nullptr ? bias[output] : 0.0;
      for (const auto* row = kept.begin(tile); row != kept.begin(tile) + kept.count(tile); ++row) {
        const double* const w = weight + (output * tiling.rows + row->weight) * taps;
        for (std::int64_t tap = 0; tap < taps; ++tap) {
          const std::int64_t place = places[static_cast<std::size_t>(position * taps + tap)];
          if (place >= 0) sum += w[tap] * image_x[row->input * input_size + place];
        }
      }
      y[plane * positions + position] = activate(activation, sum);
    }
  });
}

}  // namespace onnxprune
