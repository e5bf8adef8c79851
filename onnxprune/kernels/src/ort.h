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

// Throws what a status says, and frees it.
void check(abi::Table table, abi::Status* status);

// What is known when a kernel is made.
class Info {
 public:
  Info(abi::Table table, const abi::KernelInfo* info) : table_(table), info_(info) {}
  std::int64_t integer(const char* name) const;
  float real(const char* name) const;
  std::vector<std::int64_t> integers(const char* name) const;
  // Returns whether the input is a constant, and its value.
  bool constant(std::size_t place, Tensor* tensor) const;

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
