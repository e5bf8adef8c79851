// What an instruction set brings: the inner loops, compiled for it, and the shape of their tiles.
#pragma once

#include <cstddef>
#include <cstdint>

#include "activation.h"

namespace onnxprune {

constexpr int kMostRows = 12;
constexpr int kMostStrips = 2;
constexpr int kMostChannels = 8;
constexpr int kMostVectors = 3;
constexpr int kMostLanes = 16;

// y[m, n] = start[m, n] + Σ_i x[row(m) + offsets[i]] · w[i, n] over `depth` inputs, with row(m) = m · row_step, or
// row_places[m] where these are given,
// where start is the bias, zero without one, or y itself where a sum is resumed.
struct RowTile {
  const float* x;
  std::ptrdiff_t row_step;
  const std::int32_t* row_places;  // [rows] or null
  const std::int32_t* offsets;
  std::ptrdiff_t depth;
  const float* w;                // [depth, strip]
  std::ptrdiff_t w_next;         // elements from here to the next strip's weights
  float* y;
  std::ptrdiff_t y_step;
  const float* bias;             // [strips · strip] or null
  bool resume;
};

// out[c · out_step + places[v] + lane] = start + Σ_i x[positions[v] + offsets[i] + lane] · w[i, c], start as above.
struct PixelTile {
  const float* x;
  const std::int32_t* offsets;
  std::ptrdiff_t depth;
  const std::int32_t* positions;  // [vectors]
  const float* w;                 // [depth, channels]
  float* out;
  std::ptrdiff_t out_step;        // elements from one channel to the next
  const std::int32_t* places;     // [vectors]
  const float* bias;              // [channels] or null
  bool resume;
};

// Rows of an image with zeros around them: each is `zeros_before` zeros, `count` values that lie `value_step` apart,
// and `zeros_after` zeros.
struct RowCopy {
  const float* from;
  std::ptrdiff_t from_step;
  std::ptrdiff_t value_step;
  float* to;
  std::ptrdiff_t rows;
  std::ptrdiff_t zeros_before;
  std::ptrdiff_t count;
  std::ptrdiff_t zeros_after;
};

using RowKernel = void (*)(const RowTile&);
using PixelKernel = void (*)(const PixelTile&);

struct Isa {
  const char* name;
  int lanes;     // floats in a vector
  int strip;     // outputs that a row kernel computes side by side
  int rows;      // most rows of a row kernel
  int channels;  // most output channels of a pixel kernel
  int vectors;   // most vectors of pixels of a pixel kernel
  RowKernel row_kernels[kMostRows + 1][kMostStrips + 1];          // [rows][strips]; null where there is none
  PixelKernel pixel_kernels[kMostChannels + 1][kMostVectors + 1];  // [channels][vectors]
  // to[c · to_step + r] = from[r · from_step + c]
  void (*transpose)(const float* from, std::ptrdiff_t from_step, std::ptrdiff_t rows, std::ptrdiff_t columns, float* to,
                    std::ptrdiff_t to_step);
  void (*copy_rows)(const RowCopy&);
  void (*activate)(const Activation&, float* values, std::size_t count);
};

extern const Isa kAvx2;
extern const Isa kAvx512;

// The best instruction set of this machine, or null where it has none that the kernels are written for.
const Isa* find_isa();

}  // namespace onnxprune
