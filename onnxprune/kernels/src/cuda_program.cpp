#include "cuda_program.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <tuple>
#include <vector>

#include "cuda_cache.h"

namespace onnxprune::cuda {

namespace {

constexpr int kMostSharedBytes = 8;  // CUfunction_attribute
constexpr unsigned kOrdinarySharedBytes = 48 * 1024;
constexpr std::size_t kShownLog = 600;

// What NVRTC makes for a device: code for it, or PTX for the newest that this NVRTC knows, which the driver compiles.
struct Target {
  int architecture;
  bool exact;

  std::string option() const {
    return std::string("--gpu-architecture=") + (exact ? "sm_" : "compute_") + std::to_string(architecture);
  }
};

Target target_of(const Nvrtc& compiler, const Device& device) {
  int count = 0;
  std::vector<int> known;
  if (compiler.architecture_count != nullptr && compiler.architectures != nullptr &&
      compiler.architecture_count(&count) == 0 && count > 0) {
    known.resize(static_cast<std::size_t>(count));
    if (compiler.architectures(known.data()) != 0) known.clear();
  }
  if (known.empty() || std::find(known.begin(), known.end(), device.architecture) != known.end()) {
    return {device.architecture, true};
  }
  int best = 0;
  for (const int architecture : known) {
    if (architecture <= device.architecture) best = std::max(best, architecture);
  }
  if (best < kOldestArchitecture) {
    throw Unavailable("NVRTC " + compiler.version_text() + " does not know architecture " +
                      std::to_string(device.architecture) + " of " + device.name + ".");
  }
  return {best, false};
}

std::string compile(const Nvrtc& compiler, const Target& target, const std::vector<std::string>& options) {
  std::vector<const char*> words;
  for (const std::string& option : options) words.push_back(option.c_str());
  Handle program = nullptr;
  if (compiler.create(&program, source(), "block_sparse.cu", 0, nullptr, nullptr) != 0) {
    throw Unavailable("NVRTC makes no program.");
  }
  struct Guard {
    const Nvrtc& compiler;
    Handle& program;
    ~Guard() { compiler.destroy(&program); }
  } const guard{compiler, program};
  std::size_t size = 0;
  if (compiler.compile(program, static_cast<int>(words.size()), words.data()) != 0) {
    compiler.log_size(program, &size);
    std::string log(size, '\0');
    if (size != 0) compiler.log(program, log.data());
    std::replace(log.begin(), log.end(), '\n', ' ');
    throw Unavailable("NVRTC " + compiler.version_text() + " does not compile the kernels: " +
                      log.substr(0, std::min(log.find('\0'), kShownLog)));
  }
  const auto measure = target.exact ? compiler.cubin_size : compiler.ptx_size;
  const auto read = target.exact ? compiler.cubin : compiler.ptx;
  std::string code;
  if (measure(program, &size) == 0) code.resize(size);
  if (code.empty() || read(program, code.data()) != 0) throw Unavailable("NVRTC gives no code.");
  return code;
}

// Returns a module with part of the source; `part` is the macro that it stands under.
Handle load(const Device& device, Multiplied multiplied, const char* part) {
  const Driver& cuda = driver();
  if (device.architecture < kOldestArchitecture) {
    throw Unavailable(device.name + " has architecture " + std::to_string(device.architecture) +
                      "; the kernels need 80 (Ampere) or newer.");
  }
  const Nvrtc& compiler = nvrtc();
  const Target target = target_of(compiler, device);
  const std::vector<std::string> options = {target.option(), "--std=c++17",
                                            "-DELEMENT=" + std::to_string(static_cast<int>(multiplied)),
                                            std::string("-D") + part + "=1"};
  int version = 0;
  cuda.check(cuda.version(&version), "The CUDA driver has no version");
  std::string key = "driver " + std::to_string(version) + "\nnvrtc " + compiler.version_text() + "\n";
  for (const std::string& option : options) key += option + "\n";
  key += source();
  const Current current(device);
  Handle module = nullptr;
  const std::string kept = stored(key);
  if (!kept.empty() && cuda.load_module(&module, kept.c_str()) == 0) return module;
  const std::string code = compile(compiler, target, options);
  const std::string failed = "The CUDA driver, for CUDA " + std::to_string(version / 1000) +
                             ", does not load what NVRTC " + compiler.version_text() + " made";
  cuda.check(cuda.load_module(&module, code.c_str()), failed.c_str());
  store(key, code);
  return module;
}

Handle function(Handle module, const std::string& name) {
  Handle found = nullptr;
  driver().check(driver().find_function(&found, module, name.c_str()), "A kernel is missing");
  return found;
}

Products load_products(const Device& device, Multiplied multiplied) {
  Handle const module = load(device, multiplied, "PRODUCTS");
  const Current current(device);
  Products made{};
  for (int i = 0; i < kShapeCount; ++i) {
    const BlockShape& shape = kShapes[i];
    made.functions[i] =
        function(module, "product_" + std::to_string(shape.rows) + "x" + std::to_string(shape.outputs));
    if (shape.shared_bytes() <= kOrdinarySharedBytes) continue;
    const int bytes = static_cast<int>(shape.shared_bytes());
    driver().check(driver().set_function_attribute(made.functions[i], kMostSharedBytes, bytes),
                   "The device has too little shared memory");
  }
  return made;
}

Copies load_copies(const Device& device, Multiplied multiplied) {
  Handle const module = load(device, multiplied, "COPIES");
  const Current current(device);
  return {function(module, "copy_weight"), function(module, "copy_image"), function(module, "copy_rows")};
}

// Returns what `make` made for these arguments before, or makes it. What it returns stays.
template <typename Made>
const Made& once(const Device& device, Multiplied multiplied, Made (*make)(const Device&, Multiplied)) {
  static auto* const known = new std::map<std::pair<int, Multiplied>, Made>;
  static auto* const mutex = new std::mutex;
  const std::lock_guard<std::mutex> lock(*mutex);
  const std::pair<int, Multiplied> key{device.number, multiplied};
  const auto found = known->find(key);
  return found != known->end() ? found->second : known->emplace(key, make(device, multiplied)).first->second;
}

}  // namespace

const Products& products(const Device& device, Multiplied multiplied) {
  return once<Products>(device, multiplied, load_products);
}

const Copies& copies(const Device& device, Multiplied multiplied) {
  // copies do not multiply: float32 is float32
  return once<Copies>(device, multiplied == Multiplied::kTf32 ? Multiplied::kFloat : multiplied, load_copies);
}

}  // namespace onnxprune::cuda
