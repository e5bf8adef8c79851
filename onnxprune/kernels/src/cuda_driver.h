// The CUDA driver and NVRTC, loaded when they are first needed: nothing of CUDA is needed to build or load the library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace onnxprune::cuda {

// Something that keeps kernels from running on a device, as a sentence.
class Unavailable : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

using Result = int;  // CUresult, nvrtcResult: 0 is success
using Handle = void*;

// Entries of the driver.
struct Driver {
  Result (*init)(unsigned);
  Result (*version)(int*);
  Result (*device_count)(int*);
  Result (*device)(int*, int);
  Result (*device_name)(char*, int, int);
  Result (*device_attribute)(int*, int, int);
  Result (*retain_context)(Handle*, int);
  Result (*push_context)(Handle);
  Result (*pop_context)(Handle*);
  Result (*synchronize)();
  Result (*load_module)(Handle*, const void*);
  Result (*find_function)(Handle*, Handle, const char*);
  Result (*set_function_attribute)(Handle, int, int);
  Result (*copy_to_device)(std::uint64_t, const void*, std::size_t);
  Result (*launch)(Handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Handle, void**, void**);
  Result (*error_text)(Result, const char**);

  // Throws Unavailable what went wrong, unless it is nothing.
  void check(Result result, const char* what) const;
};

// Entries of NVRTC.
struct Nvrtc {
  Result (*version)(int*, int*);
  Result (*create)(Handle*, const char*, const char*, int, const char* const*, const char* const*);
  Result (*compile)(Handle, int, const char* const*);
  Result (*destroy)(Handle*);
  Result (*cubin_size)(Handle, std::size_t*);
  Result (*cubin)(Handle, char*);
  Result (*ptx_size)(Handle, std::size_t*);
  Result (*ptx)(Handle, char*);
  Result (*log_size)(Handle, std::size_t*);
  Result (*log)(Handle, char*);
  Result (*architecture_count)(int*);
  Result (*architectures)(int*);
  std::string path;

  std::string version_text() const;
};

// The loaded libraries; they stay. Throw Unavailable where there is none, or a driver without a device.
// ONNXPRUNE_CUDA_DRIVER and ONNXPRUNE_NVRTC name other files.
const Driver& driver();
const Nvrtc& nvrtc();

// Says where NVRTC may lie: files, one a line, tried after ONNXPRUNE_NVRTC and before the system's.
void look_for_nvrtc(const char* paths);

struct Device {
  int number;
  std::string name;
  int architecture;  // such as 90
  int processors;
  Handle context;  // the primary one, which onnxruntime uses
};

// Returns a device; throws Unavailable where it does not exist. What it returns stays.
const Device& device(int number);

// Makes the context of a device the thread's, until it goes.
class Current {
 public:
  explicit Current(const Device& device);
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;
  ~Current();
};

}  // namespace onnxprune::cuda
