#include "cuda_driver.h"

#include <dlfcn.h>
#include <glob.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <map>
#include <mutex>
#include <vector>

namespace onnxprune::cuda {

namespace {

constexpr int kMajor = 75, kMinor = 76, kProcessors = 16;  // CUdevice_attribute

constexpr const char* kDrivers[] = {"libcuda.so.1", "libcuda.so"};
constexpr const char* kNvrtcs[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2", "libnvrtc.so",
                                   "/usr/local/cuda/lib64/libnvrtc.so"};

template <typename Function>
void find(Handle library, const char* name, Function*& entry, const std::string& file) {
  entry = reinterpret_cast<Function*>(dlsym(library, name));
  if (entry == nullptr) throw Unavailable(file + " has no " + name + ".");
}

template <typename Function>
void find_optional(Handle library, const char* name, Function*& entry) {
  entry = reinterpret_cast<Function*>(dlsym(library, name));
}

Handle open_first(const std::vector<std::string>& files, std::string* found) {
  for (const std::string& file : files) {
    if (Handle const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL)) {
      *found = file;
      return library;
    }
  }
  return nullptr;
}

Driver load_driver() {
  const char* const wanted = std::getenv("ONNXPRUNE_CUDA_DRIVER");
  std::vector<std::string> files(std::begin(kDrivers), std::end(kDrivers));
  if (wanted != nullptr && *wanted != '\0') files = {wanted};
  std::string file;
  Handle const library = open_first(files, &file);
  if (library == nullptr) throw Unavailable("There is no CUDA driver (" + files[0] + ").");
  Driver made{};
  find(library, "cuInit", made.init, file);
  find(library, "cuDriverGetVersion", made.version, file);
  find(library, "cuDeviceGetCount", made.device_count, file);
  find(library, "cuDeviceGet", made.device, file);
  find(library, "cuDeviceGetName", made.device_name, file);
  find(library, "cuDeviceGetAttribute", made.device_attribute, file);
  find(library, "cuDevicePrimaryCtxRetain", made.retain_context, file);
  find(library, "cuCtxPushCurrent_v2", made.push_context, file);
  find(library, "cuCtxPopCurrent_v2", made.pop_context, file);
  find(library, "cuCtxSynchronize", made.synchronize, file);
  find(library, "cuModuleLoadData", made.load_module, file);
  find(library, "cuModuleGetFunction", made.find_function, file);
  find(library, "cuFuncSetAttribute", made.set_function_attribute, file);
  find(library, "cuMemcpyHtoD_v2", made.copy_to_device, file);
  find(library, "cuLaunchKernel", made.launch, file);
  find(library, "cuGetErrorString", made.error_text, file);
  made.check(made.init(0), "The CUDA driver does not start");
  return made;
}

std::mutex& places_mutex() {
  static auto* const mutex = new std::mutex;
  return *mutex;
}

std::vector<std::string>& places() {
  static auto* const places = new std::vector<std::string>;
  return *places;
}

// NVRTC opens its built-in declarations by their bare name, which is found where they are loaded already.
void load_builtins(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return;
  glob_t found{};
  if (glob((path.substr(0, slash) + "/libnvrtc-builtins.so*").c_str(), 0, nullptr, &found) == 0) {
    for (std::size_t i = 0; i < found.gl_pathc; ++i) dlopen(found.gl_pathv[i], RTLD_NOW | RTLD_GLOBAL);
  }
  globfree(&found);
}

// The generation of CUDA that the driver serves, or 0 where there is no driver.
int driver_generation() {
  try {
    int version = 0;
    driver().check(driver().version(&version), "The CUDA driver has no version");
    return version / 1000;
  } catch (const Unavailable&) {
    return 0;
  }
}

// Returns the first whose code the driver loads, which must not be of a later generation; else the first that opens.
Handle open_nvrtc(const std::vector<std::string>& files, std::string* found) {
  const int generation = driver_generation();
  Handle first = nullptr;
  for (const std::string& file : files) {
    Handle const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) continue;
    Result (*version)(int*, int*) = nullptr;
    find_optional(library, "nvrtcVersion", version);
    int major = 0, minor = 0;
    const bool known = version != nullptr && version(&major, &minor) == 0;
    const bool suits = generation == 0 || (known && major <= generation);
    if (!suits && first != nullptr) {
      dlclose(library);
      continue;
    }
    if (first != nullptr) dlclose(first);
    first = library;
    *found = file;
    if (suits) break;
  }
  return first;
}

Nvrtc load_nvrtc() {
  std::vector<std::string> files;
  const char* const wanted = std::getenv("ONNXPRUNE_NVRTC");
  if (wanted != nullptr && *wanted != '\0') {
    files = {wanted};
  } else {
    const std::lock_guard<std::mutex> lock(places_mutex());
    files = places();
    files.insert(files.end(), std::begin(kNvrtcs), std::end(kNvrtcs));
  }
  Nvrtc made{};
  Handle const library = open_nvrtc(files, &made.path);
  if (library == nullptr) {
    throw Unavailable("There is no NVRTC (" + std::string(files[0]) +
                      "), which compiles kernels for the device; the package nvidia-cuda-nvrtc has it.");
  }
  load_builtins(made.path);
  find(library, "nvrtcVersion", made.version, made.path);
  find(library, "nvrtcCreateProgram", made.create, made.path);
  find(library, "nvrtcCompileProgram", made.compile, made.path);
  find(library, "nvrtcDestroyProgram", made.destroy, made.path);
  find(library, "nvrtcGetCUBINSize", made.cubin_size, made.path);
  find(library, "nvrtcGetCUBIN", made.cubin, made.path);
  find(library, "nvrtcGetPTXSize", made.ptx_size, made.path);
  find(library, "nvrtcGetPTX", made.ptx, made.path);
  find(library, "nvrtcGetProgramLogSize", made.log_size, made.path);
  find(library, "nvrtcGetProgramLog", made.log, made.path);
  find_optional(library, "nvrtcGetNumSupportedArchs", made.architecture_count);
  find_optional(library, "nvrtcGetSupportedArchs", made.architectures);
  return made;
}

Device find_device(int number) {
  const Driver& cuda = driver();
  int count = 0, handle = 0, major = 0, minor = 0;
  cuda.check(cuda.device_count(&count), "CUDA devices cannot be counted");
  if (number < 0 || number >= count) {
    throw Unavailable("There is no CUDA device " + std::to_string(number) + "; the driver has " +
                      std::to_string(count) + ".");
  }
  Device made{};
  made.number = number;
  char name[256] = {};
  cuda.check(cuda.device(&handle, number), "A CUDA device cannot be opened");
  cuda.check(cuda.device_name(name, sizeof(name) - 1, handle), "A CUDA device has no name");
  cuda.check(cuda.device_attribute(&major, kMajor, handle), "The architecture of a CUDA device is unknown");
  cuda.check(cuda.device_attribute(&minor, kMinor, handle), "The architecture of a CUDA device is unknown");
  cuda.check(cuda.device_attribute(&made.processors, kProcessors, handle), "A CUDA device has no processors");
  made.name = name;
  made.architecture = major * 10 + minor;
  cuda.check(cuda.retain_context(&made.context, handle), "A CUDA device gives no context");
  return made;
}

}  // namespace

void Driver::check(Result result, const char* what) const {
  if (result == 0) return;
  const char* text = nullptr;
  error_text(result, &text);
  throw Unavailable(std::string(what) + ": " + (text != nullptr ? text : "unknown error") + " (" +
                    std::to_string(result) + ").");
}

std::string Nvrtc::version_text() const {
  int major = 0, minor = 0;
  if (version(&major, &minor) != 0) return "unknown";
  return std::to_string(major) + "." + std::to_string(minor);
}

// Never destroyed: sessions may outlive the static objects of this library. Where loading fails, the next call tries
// again: a library may come.
const Driver& driver() {
  static const Driver* const loaded = new Driver(load_driver());
  return *loaded;
}

const Nvrtc& nvrtc() {
  static const Nvrtc* const loaded = new Nvrtc(load_nvrtc());
  return *loaded;
}

void look_for_nvrtc(const char* paths) {
  const std::lock_guard<std::mutex> lock(places_mutex());
  places().clear();
  const std::string text = paths != nullptr ? paths : "";
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    if (end > start) places().push_back(text.substr(start, end - start));
    start = end + 1;
  }
}

const Device& device(int number) {
  static auto* const known = new std::map<int, Device>;
  static auto* const mutex = new std::mutex;
  const std::lock_guard<std::mutex> lock(*mutex);
  const auto found = known->find(number);
  return found != known->end() ? found->second : known->emplace(number, find_device(number)).first->second;
}

Current::Current(const Device& device) {
  driver().check(driver().push_context(device.context), "A CUDA context cannot be entered");
}

Current::~Current() {
  Handle left = nullptr;
  driver().pop_context(&left);
}

}  // namespace onnxprune::cuda
