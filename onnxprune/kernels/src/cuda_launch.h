// What kernels on the device are told: the structs of cuda_layer.inc, and the shapes of cuda_product.inc.
#pragma once

#include <cstddef>
#include <cstdint>

namespace onnxprune::cuda {

constexpr int kStepBytes = 128;  // of inputs that a step takes
constexpr int kChunkBytes = 16;
constexpr int kStepChunks = kStepBytes / kChunkBytes;
constexpr int kShiftBits = 10;

struct Chunk {
  std::int32_t channel;
  std::int32_t shift;
};

struct Layer {
  const void* x;
  const void* weight;
  const Chunk* chunks;
  const void* bias;
  void* y;
  std::int32_t rows;
  std::int32_t outputs;
  std::int32_t width;
  std::int32_t steps;
  std::int32_t pixels;
  std::int32_t out_y, out_x;
  std::int32_t in_z, in_y, in_x;
  std::int32_t stride_z, stride_y, stride_x;
  std::int32_t channels;
  std::int32_t activation;
  float a, b;
  std::int32_t planar;
  std::int32_t vectors;
};

struct WeightCopy {
  const void* from;
  const Chunk* chunks;
  void* to;
  std::int64_t count;
  std::int32_t rows, width, taps, steps;
  std::int32_t inputs;
  std::int32_t by_output;
};

struct InputCopy {
  const void* from;
  void* to;
  std::int32_t inputs, channels;
  std::int32_t z, y, x;
  std::int32_t in_z, in_y, in_x;
  std::int32_t pad_z, pad_y, pad_x;
};

static_assert(sizeof(Layer) == 5 * 8 + 19 * 4 + 4 && sizeof(WeightCopy) == 4 * 8 + 6 * 4 &&
                  sizeof(InputCopy) == 2 * 8 + 11 * 4 + 4,
              "as the device has them");

// What is multiplied, as ELEMENT of the source says it.
enum class Multiplied : int { kFloat16, kBFloat16, kTf32, kFloat };

// A block of threads: `rows` × `outputs` of the output, with stages of copies.
struct BlockShape {
  int rows, outputs, threads, stages;

  unsigned shared_bytes() const { return static_cast<unsigned>(stages * (rows + outputs) * kStepBytes); }
};

constexpr BlockShape kShapes[] = {{128, 128, 256, 3}, {128, 64, 256, 3}, {128, 32, 128, 4},
                                  {64, 64, 128, 4},   {32, 64, 128, 4},  {16, 32, 64, 6}};
constexpr int kShapeCount = sizeof(kShapes) / sizeof(kShapes[0]);
constexpr int kCopyThreads = 256;
constexpr int kImageSide = 64;  // places and channels that a block of copy_image turns around

}  // namespace onnxprune::cuda
