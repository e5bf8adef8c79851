#include "cuda_layer.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <vector>

#include "cuda_program.h"

namespace onnxprune::cuda {

namespace {

constexpr std::int64_t kMostInt = std::numeric_limits<std::int32_t>::max();
constexpr std::int64_t kMostBlocksAlong = 65535;  // of a grid, along y and z
constexpr std::int64_t kMostCopyBlocks = 4096;

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

std::int32_t narrowed(std::int64_t value, const char* what) {
  if (value < 0 || value > kMostInt) throw BadInput(std::string(what) + " is too large for a device.");
  return static_cast<std::int32_t>(value);
}

bool aligned(const void* data) { return reinterpret_cast<std::uintptr_t>(data) % kChunkBytes == 0; }

// Which channels and taps each 16 bytes of a tile's inputs are: taps outside, channels within, zeros behind.
std::vector<Chunk> list_chunks(const Tiling& tiling, const Geometry& geometry, const std::int64_t* index,
                               std::int64_t chunk, std::int64_t steps) {
  const KeptInputs checked(tiling, index);  // throws where a block does not exist
  const std::int64_t per_tile = steps * kStepChunks;
  std::vector<Chunk> chunks(static_cast<std::size_t>(checked_product(tiling.tiles, per_tile, "The weight")), {-1, 0});
  const Sizes& kernel = geometry.kernel;
  for (std::int64_t tile = 0; tile < tiling.tiles; ++tile) {
    auto* to = chunks.data() + tile * per_tile;
    for (std::int64_t tap = 0; tap < geometry.taps(); ++tap) {
      const std::int64_t x = tap % kernel[2], y = tap / kernel[2] % kernel[1], z = tap / kernel[2] / kernel[1];
      const std::int64_t shift = ((z * geometry.dilation[0]) << 2 * kShiftBits) |
                                 ((y * geometry.dilation[1]) << kShiftBits) | (x * geometry.dilation[2]);
      for (std::int64_t row = 0; row < tiling.rows; row += chunk, ++to) {
        const std::int64_t input = index[tile * tiling.blocks() + row / tiling.block] * tiling.block + row % tiling.block;
        if (input < tiling.inputs) *to = {static_cast<std::int32_t>(input), static_cast<std::int32_t>(shift)};
      }
    }
  }
  return chunks;
}

void launch(const Device& device, Handle stream, Handle function, std::array<std::int64_t, 3> grid, int threads,
            unsigned shared, void* argument) {
  const Current current(device);
  void* arguments[] = {argument};
  driver().check(driver().launch(function, static_cast<unsigned>(grid[0]), static_cast<unsigned>(grid[1]),
                                 static_cast<unsigned>(grid[2]), static_cast<unsigned>(threads), 1, 1, shared, stream,
                                 arguments, nullptr),
                 "A CUDA kernel cannot be launched");
}

}  // namespace

// By a count of what blocks multiply and copy. A block of 16 × 32 copies several times as much for a product as one of
// 128 × 128, but there are 32 times as many to share between processors.
int choose_shape(std::int64_t rows, std::int64_t outputs, std::int64_t width, int processors,
                 const std::string& wanted) {
  constexpr std::int64_t kCopied = 24, kBegun = 512;
  int best = -1;
  std::int64_t least = std::numeric_limits<std::int64_t>::max();
  for (int i = 0; i < kShapeCount; ++i) {
    const BlockShape& shape = kShapes[i];
    if (width % shape.outputs != 0) continue;
    if (!wanted.empty() && std::to_string(shape.rows) + "x" + std::to_string(shape.outputs) == wanted) return i;
    const std::int64_t blocks = divide_up(rows, shape.rows) * divide_up(outputs, shape.outputs);
    const std::int64_t block = shape.rows * shape.outputs + kCopied * (shape.rows + shape.outputs) + kBegun;
    const std::int64_t time = divide_up(blocks, processors) * block;
    if (time < least) {
      least = time;
      best = i;
    }
  }
  return best;
}

std::string wanted_shape() {
  const char* const wanted = std::getenv("ONNXPRUNE_CUDA_SHAPE");
  return wanted != nullptr ? wanted : "";
}

DeviceLayer::DeviceLayer(const Info& info, const Tiling& tiling, const Geometry& geometry, const Activation& activation,
                         const Tensor& weight, const std::int64_t* index)
    : tiling_(tiling), geometry_(geometry), activation_(activation), type_(weight.type) {
  // The environment is read here and not in a call, where another thread of the process may be changing it.
  shape_ = wanted_shape();
  const char* const tf32 = std::getenv("ONNXPRUNE_CUDA_TF32");  // for tests: 0 or 1, whatever the session says
  if (tf32 != nullptr && *tf32 != '\0') tf32_ = std::strcmp(tf32, "0") != 0;
  const std::int64_t chunk = kChunkBytes / element_bytes();
  const std::int64_t depth = checked_product(geometry.taps(), tiling.rows, "The weight");
  steps_ = divide_up(depth * element_bytes(), kStepBytes);
  narrowed(depth + kStepBytes, "The weight");
  const std::vector<Chunk> chunks = list_chunks(tiling, geometry, index, chunk, steps_);
  const std::size_t bytes = chunks.size() * sizeof(Chunk);
  const std::int64_t weight_bytes =
      checked_product(checked_product(tiling.tiles, tiling.width, "The weight"), steps_ * kStepBytes, "The weight");
  chunks_ = info.allocate(std::max<std::size_t>(bytes, kChunkBytes));
  weight_ = info.allocate(static_cast<std::size_t>(std::max<std::int64_t>(weight_bytes, kChunkBytes)));
  device_ = &device(chunks_.device());
  if (steps_ == 0) return;
  const Current current(*device_);
  driver().check(driver().copy_to_device(reinterpret_cast<std::uint64_t>(chunks_.data()), chunks.data(), bytes),
                 "The index cannot be copied to the device");
  WeightCopy copy{};
  copy.from = weight.data;
  copy.chunks = static_cast<const Chunk*>(chunks_.data());
  copy.to = weight_.data();
  copy.count = weight_bytes / element_bytes();
  copy.rows = narrowed(tiling.rows, "The weight");
  copy.width = narrowed(tiling.width, "The weight");
  copy.taps = narrowed(geometry.taps(), "The kernel");
  copy.steps = narrowed(steps_, "The weight");
  copy.inputs = narrowed(tiling.inputs, "The weight");
  copy.by_output = geometry.planar ? 1 : 0;
  const auto kind = type_ == ElementType::kFloat     ? Multiplied::kFloat
                    : type_ == ElementType::kFloat16 ? Multiplied::kFloat16
                                                     : Multiplied::kBFloat16;
  const std::int64_t blocks = std::min(divide_up(copy.count, kCopyThreads), kMostCopyBlocks);
  launch(*device_, nullptr, copies(*device_, kind).weight, {blocks, 1, 1}, kCopyThreads, 0, &copy);
  driver().check(driver().synchronize(), "The weight cannot be laid out on the device");
}

Multiplied DeviceLayer::multiplied(const Context& context) const {
  if (type_ == ElementType::kFloat16) return Multiplied::kFloat16;
  if (type_ == ElementType::kBFloat16) return Multiplied::kBFloat16;
  if (tf32_ < 0) tf32_ = context.provider_says(abi::kCudaResources, abi::kCudaUsesTf32);
  return tf32_ != 0 ? Multiplied::kTf32 : Multiplied::kFloat;
}

// Returns x as the product reads it, and the elements from a place to the next: x itself where it serves, or a copy.
const void* DeviceLayer::lay_out(const Context& context, const Batch& batch, const Sizes& padded, const Tensor& x,
                                 const Device& on, std::int64_t* channels, DeviceMemory* scratch) const {
  const std::int64_t chunk = kChunkBytes / element_bytes();
  if (!geometry_.planar && tiling_.inputs % chunk == 0 && aligned(x.data)) {
    *channels = tiling_.inputs;
    return x.data;
  }
  *channels = divide_up(tiling_.inputs, chunk) * chunk;
  const std::int64_t places =
      checked_product(checked_product(padded[0], padded[1], "The input"), padded[2], "The input");
  const std::int64_t image = checked_product(places, *channels * element_bytes(), "The input");
  *scratch = context.scratch(x, static_cast<std::size_t>(checked_product(image, batch.images, "The input")));
  const Copies& kernels = copies(on, type_ == ElementType::kFloat     ? Multiplied::kFloat
                                     : type_ == ElementType::kFloat16 ? Multiplied::kFloat16
                                                                      : Multiplied::kBFloat16);
  InputCopy copy{};
  copy.from = x.data;
  copy.to = scratch->data();
  copy.inputs = narrowed(tiling_.inputs, "The input");
  copy.channels = narrowed(*channels, "The input");
  const Sizes& size = batch.image;
  copy.z = narrowed(size[0], "The input"), copy.y = narrowed(size[1], "The input");
  copy.x = narrowed(size[2], "The input");
  copy.in_z = narrowed(padded[0], "The input"), copy.in_y = narrowed(padded[1], "The input");
  copy.in_x = narrowed(padded[2], "The input");
  copy.pad_z = narrowed(geometry_.pad[0], "A pad"), copy.pad_y = narrowed(geometry_.pad[1], "A pad");
  copy.pad_x = narrowed(geometry_.pad[2], "A pad");
  if (!geometry_.planar) {
    const std::int64_t blocks = std::min(divide_up(places * *channels, kCopyThreads), kMostCopyBlocks);
    launch(on, context.stream(), kernels.rows, {blocks, 1, 1}, kCopyThreads, 0, &copy);
    return scratch->data();
  }
  const std::int64_t across = divide_up(*channels, kImageSide);
  if (across > kMostBlocksAlong) throw BadInput("The input has too many channels for a device.");
  const std::int64_t input_bytes = size[0] * size[1] * size[2] * tiling_.inputs * element_bytes();
  const auto shared = static_cast<unsigned>(kImageSide * (kImageSide + 1) * element_bytes());
  for (std::int64_t first = 0; first < batch.images; first += kMostBlocksAlong) {
    const std::int64_t images = std::min(batch.images - first, kMostBlocksAlong);
    copy.from = static_cast<const char*>(x.data) + first * input_bytes;
    copy.to = static_cast<char*>(scratch->data()) + first * image;
    launch(on, context.stream(), kernels.image, {divide_up(places, kImageSide), across, images}, kCopyThreads, shared,
           &copy);
  }
  return scratch->data();
}

void DeviceLayer::run(const Context& context, const Batch& batch, const Tensor& x, const Tensor& bias,
                      const Tensor& y) const {
  Sizes padded{1, 1, 1};
  for (std::size_t i = 0; i < padded.size(); ++i) {
    padded[i] = (batch.output[i] - 1) * geometry_.stride[i] + (geometry_.kernel[i] - 1) * geometry_.dilation[i] + 1;
  }
  Layer layer{};
  DeviceMemory scratch;
  std::int64_t channels = 0;
  layer.x = lay_out(context, batch, padded, x, *device_, &channels, &scratch);
  layer.weight = weight_.data();
  layer.chunks = static_cast<const Chunk*>(chunks_.data());
  layer.bias = bias.data;
  layer.y = y.data;
  const std::int64_t rows = checked_product(batch.images, batch.pixels(), "The output");
  const std::int64_t most_rows = kMostInt - kShapes[0].rows;  // so that the last block does not run over
  if (rows > most_rows) throw BadInput("The output has too many rows for a device: " + std::to_string(rows) + ".");
  layer.rows = narrowed(rows, "The output");
  layer.outputs = narrowed(tiling_.outputs, "The output");
  layer.width = narrowed(tiling_.width, "The output");
  layer.steps = narrowed(steps_, "The weight");
  layer.pixels = narrowed(batch.pixels(), "The output");
  layer.out_y = narrowed(batch.output[1], "The output"), layer.out_x = narrowed(batch.output[2], "The output");
  layer.in_z = narrowed(padded[0], "The input"), layer.in_y = narrowed(padded[1], "The input");
  layer.in_x = narrowed(padded[2], "The input");
  layer.stride_z = narrowed(geometry_.stride[0], "A stride"), layer.stride_y = narrowed(geometry_.stride[1], "A stride");
  layer.stride_x = narrowed(geometry_.stride[2], "A stride");
  layer.channels = narrowed(channels, "The input");
  layer.activation = static_cast<int>(activation_.kind);
  layer.a = activation_.a, layer.b = activation_.b;
  layer.planar = geometry_.planar ? 1 : 0;
  const std::int64_t line = geometry_.planar ? batch.pixels() : tiling_.outputs;
  layer.vectors = line * element_bytes() % kChunkBytes == 0 && aligned(y.data) ? 1 : 0;
  const int chosen = choose_shape(rows, tiling_.outputs, tiling_.width, device_->processors, shape_);
  const BlockShape& shape = kShapes[chosen];
  const std::int64_t blocks = divide_up(rows, shape.rows) * divide_up(tiling_.outputs, shape.outputs);
  narrowed(blocks, "The output");
  launch(*device_, context.stream(), products(*device_, multiplied(context)).functions[chosen], {blocks, 1, 1},
         shape.threads, shape.shared_bytes(), &layer);
}

}  // namespace onnxprune::cuda
