#include "memory.h"

#include <algorithm>

namespace onnxprune {

ScratchPool& ScratchPool::shared() {
  // Never destroyed: a session may outlive the static objects of this library.
  static ScratchPool* const pool = new ScratchPool;
  return *pool;
}

ScratchPool::Loan ScratchPool::borrow(std::size_t count) {
  Floats found;
  if (count == 0) return Loan(*this, std::move(found));
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    // The smallest that suffices; else the largest is replaced, so that buffers do not pile up.
    const auto better = [count](const Floats& a, const Floats& b) {
      const bool a_suffices = a.size() >= count, b_suffices = b.size() >= count;
      if (a_suffices != b_suffices) return a_suffices;
      return a_suffices ? a.size() < b.size() : a.size() > b.size();
    };
    const auto best = std::min_element(idle_.begin(), idle_.end(), better);
    if (best != idle_.end()) {
      found = std::move(*best);
      idle_.erase(best);
    }
  }
  if (found.size() < count || found.data() == nullptr) {
    found = Floats();  // freed before more is asked for
    found = Floats(count);
  }
  return Loan(*this, std::move(found));
}

void ScratchPool::give_back(Floats floats) noexcept {
  if (floats.data() == nullptr) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  if (kernels_ == 0) return;
  try {
    idle_.push_back(std::move(floats));
  } catch (...) {  // no memory to remember it by: it is freed
  }
}

void ScratchPool::enter() {
  const std::lock_guard<std::mutex> lock(mutex_);
  ++kernels_;
}

void ScratchPool::leave() noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (--kernels_ == 0) idle_.clear();
}

}  // namespace onnxprune
