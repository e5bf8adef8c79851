// The part of onnxruntime's C++ interface that the guide on block-sparse deployment uses, over the C function table.
//
// No package ships onnxruntime's headers. The signatures are those of onnxruntime_cxx_api.h, the places in the table are
// fixed (compare onnxprune/kernels/src/ort_abi.h), and the library that is called is onnxruntime's own.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

struct OrtApiBase {
  const void* const* (*GetApi)(std::uint32_t version);
  const char* (*GetVersionString)();
};

extern "C" const OrtApiBase* OrtGetApiBase();

namespace Ort {

constexpr std::uint32_t kApiVersion = 18;

template <typename Result, typename... Arguments>
Result call(int place, Arguments... arguments) {
  const void* const* table = OrtGetApiBase()->GetApi(kApiVersion);
  return reinterpret_cast<Result (*)(Arguments...)>(const_cast<void*>(table[place]))(arguments...);
}

inline void check(void* status) {
  if (status == nullptr) return;
  std::string message = call<const char*, const void*>(2, status);  // GetErrorMessage
  call<void, void*>(93, status);                                    // ReleaseStatus
  throw std::runtime_error(message);
}

class Env {
 public:
  Env() { check(call<void*, int, const char*, void**>(3, 2, "", &handle_)); }  // CreateEnv, warnings and worse
  ~Env() { call<void, void*>(92, handle_); }
  Env(const Env&) = delete;
  Env& operator=(const Env&) = delete;
  operator void*() const { return handle_; }

 private:
  void* handle_ = nullptr;
};

struct CustomOpConfigs {};

class SessionOptions {
 public:
  SessionOptions() { check(call<void*, void**>(10, &handle_)); }  // CreateSessionOptions
  ~SessionOptions() { call<void, void*>(100, handle_); }
  SessionOptions(const SessionOptions&) = delete;
  SessionOptions& operator=(const SessionOptions&) = delete;
  operator void*() const { return handle_; }

  SessionOptions& RegisterCustomOpsLibrary(const char* library_name, const CustomOpConfigs& = {}) {
    void* library = nullptr;  // RegisterCustomOpsLibrary: the caller keeps it open, here until the process ends
    check(call<void*, void*, const char*, void**>(29, handle_, library_name, &library));
    return *this;
  }

 private:
  void* handle_ = nullptr;
};

class Session {
 public:
  Session(const Env& env, const char* model_path, const SessionOptions& options) {
    check(call<void*, const void*, const char*, const void*, void**>(7, env, model_path, options, &handle_));
  }
  ~Session() { call<void, void*>(95, handle_); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

 private:
  void* handle_ = nullptr;
};

}  // namespace Ort
