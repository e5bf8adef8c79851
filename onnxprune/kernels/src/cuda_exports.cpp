// What Python asks of the CUDA side, before a session is made.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "cuda_kernel.h"
#include "cuda_layer.h"
#include "cuda_program.h"
#include "export.h"

namespace onnxprune::cuda {

namespace {

void write_text(const std::string& text, char* to, int size) {
  if (to != nullptr && size > 0) std::snprintf(to, static_cast<std::size_t>(size), "%s", text.c_str());
}

// Runs `body`; returns 1, or 0 with what it throws as the text.
template <typename Body>
int answered(char* text, int size, const Body& body) noexcept {
  try {
    body();
    return 1;
  } catch (const std::exception& error) {
    write_text(error.what(), text, size);
  } catch (...) {
    write_text("an unknown failure.", text, size);
  }
  return 0;
}

}  // namespace

}  // namespace onnxprune::cuda

// The source of the kernels that run on a device.
ONNXPRUNE_EXPORT const char* onnxprune_cuda_source() { return onnxprune::cuda::source(); }

// Says where NVRTC may lie: files, one a line.
ONNXPRUNE_EXPORT void onnxprune_cuda_search(const char* paths) {
  try {
    onnxprune::cuda::look_for_nvrtc(paths);
  } catch (...) {  // no memory: the system's own places remain
  }
}

// Returns 1 and the version of NVRTC, or 0 and why there is none.
ONNXPRUNE_EXPORT int onnxprune_cuda_nvrtc(char* text, int size) {
  using namespace onnxprune::cuda;
  return answered(text, size, [&] { write_text(nvrtc().version_text(), text, size); });
}

// Returns 1 and the version of the driver, or 0 and why there is none.
ONNXPRUNE_EXPORT int onnxprune_cuda_driver(char* text, int size) {
  using namespace onnxprune::cuda;
  return answered(text, size, [&] {
    int version = 0;
    driver().check(driver().version(&version), "The CUDA driver has no version");
    write_text(std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10), text, size);
  });
}

// Returns the architecture of a device, such as 90, and its name; or 0 and why it cannot be used.
ONNXPRUNE_EXPORT int onnxprune_cuda_device(int number, char* text, int size) {
  using namespace onnxprune::cuda;
  int architecture = 0;
  answered(text, size, [&] {
    const Device& found = device(number);
    write_text(found.name, text, size);
    architecture = found.architecture;
  });
  return architecture;
}

// Returns 1 where the kernels that multiply so (0 float16, 1 bfloat16, 2 tf32, 3 float32) run on a device; they are
// compiled for that, or taken from the disk. Else 0 and why not.
ONNXPRUNE_EXPORT int onnxprune_cuda_prepare(int number, int multiplied, char* text, int size) {
  using namespace onnxprune::cuda;
  return answered(text, size, [&] {
    const Device& found = device(number);
    products(found, static_cast<Multiplied>(multiplied));
    copies(found, static_cast<Multiplied>(multiplied));
  });
}

// Returns which of the shapes of blocks computes a layer, for measurements.
ONNXPRUNE_EXPORT int onnxprune_cuda_shape(std::int64_t rows, std::int64_t outputs, std::int64_t width, int processors) {
  using namespace onnxprune::cuda;
  int chosen = -1;
  answered(nullptr, 0, [&] { chosen = choose_shape(rows, outputs, width, std::max(1, processors), wanted_shape()); });
  return chosen;
}

// Returns 1 where the kernels cover a layer, else 0 and why not. `type` is the element type as ONNX counts them;
// `reaches` are (kernel - 1) · dilation along `axes` axes, none for a matrix product.
ONNXPRUNE_EXPORT int onnxprune_cuda_covers(int type, std::int64_t block, std::int64_t width,
                                           const std::int64_t* reaches, int axes, char* text, int size) {
  using namespace onnxprune;
  std::string reason;
  const int asked = cuda::answered(text, size, [&] {
    std::vector<WindowAxis> window(static_cast<std::size_t>(std::max(0, axes)));
    for (std::size_t i = 0; i < window.size(); ++i) window[i].kernel = reaches[i] + 1;
    Tiling tiling{};
    tiling.block = block;
    tiling.width = width;
    reason = cuda::uncovered(static_cast<ElementType>(type), tiling, window);
  });
  if (asked == 0 || reason.empty()) return asked;
  cuda::write_text(reason, text, size);
  return 0;
}
