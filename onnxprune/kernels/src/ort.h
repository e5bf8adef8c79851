// onnxruntime as the operators see it: tensors, errors and its thread pool.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "ort_abi.h"

namespace onnxprune {

using abi::ElementType;
using Shape = std::vector<std::int64_t>;

// Something in the model or its inputs that cannot be computed; reaches the user as onnxruntime's error.
class BadInput : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A tensor of onnxruntime's. `data` is null where an optional input is absent.
struct Tensor {
  ElementType type = ElementType::kFloat;
  Shape shape;
  void* data = nullptr;
  const abi::MemoryInfo* memory = nullptr;  // where the data lie

  bool present() const { return data != nullptr || !shape.empty(); }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data);
  }
};

// Returns the product of dimensions; a negative one and a product beyond 2^48 are refused.
std::int64_t element_count(const Shape& shape, const char* what);
// Returns a · b and a + b, refusing what leaves the range of sizes that memory could have.
std::int64_t checked_product(std::int64_t a, std::int64_t b, const char* what);
std::string show(const Shape& shape);

// Returns whether memory is the host's.
bool on_host(abi::Table table, const abi::MemoryInfo* memory);

// Throws what a status says, and frees it.
void check(abi::Table table, abi::Status* status);

// Memory of onnxruntime's for a provider's device.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  DeviceMemory(abi::Table table, abi::Allocator* allocator, void* data)
      : table_(table), allocator_(allocator), data_(data) {}
  DeviceMemory(DeviceMemory&& other) noexcept { *this = std::move(other); }
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(table_, other.table_);
    std::swap(allocator_, other.allocator_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~DeviceMemory();
  void* data() const { return data_; }
  // The number of the device.
  int device() const;

 private:
  abi::Table table_ = nullptr;
  abi::Allocator* allocator_ = nullptr;
  void* data_ = nullptr;
};

// What is known when a kernel is made.
class Info {
 public:
  Info(abi::Table table, const abi::KernelInfo* info) : table_(table), info_(info) {}
  std::int64_t integer(const char* name) const;
  float real(const char* name) const;
  std::vector<std::int64_t> integers(const char* name) const;
  // Returns whether the input is a constant, and its value.
  bool constant(std::size_t place, Tensor* tensor) const;
  // Returns memory of the device that the kernel's provider computes on; it lasts until it is let go.
  DeviceMemory allocate(std::size_t bytes) const;

 private:
  abi::Table table_;
  const abi::KernelInfo* info_;
};

// One call of a kernel.
class Context {
 public:
  Context(abi::Table table, abi::KernelContext* context) : table_(table), context_(context) {}
  Tensor input(std::size_t place) const;
  Tensor output(const Shape& shape, ElementType type) const;

  // The stream of a device that onnxruntime has this call's work done on.
  void* stream() const;
  // Returns memory beside that of a tensor, for work on this call's stream. It may be let go while that work is still
  // under way: what gets it next is behind it on the stream, or waits for it.
  DeviceMemory scratch(const Tensor& beside, std::size_t bytes) const;
  // Returns whether a provider says yes to something, an entry of its list; no where it does not say.
  bool provider_says(int version, int entry) const;

  // Runs task(0) … task(count - 1) on onnxruntime's threads and waits for them.
  template <typename Task>
  void parallel_for(std::int64_t count, const Task& task) const {
    if (count <= 0) return;
    if (count == 1) return task(std::int64_t{0});
    Job<Task> job(task);
    job.published();
    run_parallel(&Job<Task>::step, static_cast<std::size_t>(count), &job);
    job.finish();
  }

 private:
  // The tasks of one parallel_for. onnxruntime's threads must not see an exception: the first is kept.
  template <typename Task>
  class Job {
   public:
    explicit Job(const Task& task) : task_(task) {}
    static void step(void* self, std::size_t index) noexcept {
      auto& job = *static_cast<Job*>(self);
      job.seen();
      try {
        job.task_(static_cast<std::int64_t>(index));
      } catch (...) {
        if (!job.failed_.exchange(true)) job.error_ = std::current_exception();
      }
      job.published();
    }
    void finish() {
      seen();
      if (failed_) std::rethrow_exception(error_);
    }
    void published();
    void seen();

   private:
    const Task& task_;
    std::atomic<bool> failed_{false};
    std::exception_ptr error_;
  };

  void run_parallel(void (*step)(void*, std::size_t), std::size_t count, void* job) const;

  abi::Table table_;
  abi::KernelContext* context_;
};

// ThreadSanitizer does not see inside onnxruntime's thread pool; what it guarantees is stated here: all
// that happened before run_parallel is seen by each step, and all steps by what follows it.
#ifdef __SANITIZE_THREAD__
extern "C" void __tsan_acquire(void*);
extern "C" void __tsan_release(void*);
template <typename Task>
void Context::Job<Task>::published() {
  __tsan_release(this);
}
template <typename Task>
void Context::Job<Task>::seen() {
  __tsan_acquire(this);
}
#else
template <typename Task>
void Context::Job<Task>::published() {}
template <typename Task>
void Context::Job<Task>::seen() {}
#endif

}  // namespace onnxprune
