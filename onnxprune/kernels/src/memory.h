// Aligned memory, and scratch that calls borrow.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace onnxprune {

// Floats at an address that vectors like.
class Floats {
 public:
  Floats() = default;
  explicit Floats(std::size_t count) : size_(count) {
    if (count > (std::size_t{1} << 48)) throw std::bad_alloc();
    const std::size_t bytes = (count * sizeof(float) + kAlignment - 1) / kAlignment * kAlignment;
    data_.reset(static_cast<float*>(std::aligned_alloc(kAlignment, bytes != 0 ? bytes : kAlignment)));
    if (!data_) throw std::bad_alloc();
  }

  float* data() const { return data_.get(); }
  std::size_t size() const { return size_; }

 private:
  static constexpr std::size_t kAlignment = 64;
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> data_;
  std::size_t size_ = 0;
};

// Scratch memory of all kernels of the process. A call borrows a buffer for its duration and gives it back;
// fresh memory for each call would cost a page fault per 4 KB. So there are as many buffers as there were
// calls at once, each as large as the largest need it served, and they go when the last kernel goes.
class ScratchPool {
 public:
  class Loan {
   public:
    Loan(ScratchPool& pool, Floats floats) : pool_(pool), floats_(std::move(floats)) {}
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    ~Loan() { pool_.give_back(std::move(floats_)); }
    float* data() const { return floats_.data(); }

   private:
    ScratchPool& pool_;
    Floats floats_;
  };

  static ScratchPool& shared();

  // Returns at least `count` floats with unspecified contents.
  Loan borrow(std::size_t count);

  // Kernels say when they come and go.
  void enter();
  void leave() noexcept;

 private:
  void give_back(Floats floats) noexcept;

  std::mutex mutex_;
  std::vector<Floats> idle_;
  std::size_t kernels_ = 0;
};

}  // namespace onnxprune
